// One file for Grafana's loader: an AMD module that asks Grafana for its shared
// libraries, with the files of the plugin beside it.
const fs = require('fs');
const path = require('path');

const { StaticFiles } = require('../build/static-files');
const { externals } = require('../build/externals');
const { version } = require('./package.json');

const src = path.join(__dirname, 'src');
const dashboards = path.join(__dirname, '../../deploy/dashboards');

module.exports = (_, { mode }) => ({
  context: src,
  entry: { module: './module.ts' },
  devtool: mode === 'production' ? 'source-map' : 'eval-source-map',
  externals,
  output: {
    path: path.join(__dirname, 'dist'),
    filename: '[name].js',
    library: { type: 'amd' },
    uniqueName: 'tapedeck-traffic-datasource',
    // The Go binaries are built into the same folder.
    clean: { keep: /gpx_/ },
  },
  resolve: { extensions: ['.ts', '.tsx', '.js'] },
  module: {
    rules: [
      {
        test: /\.tsx?$/,
        exclude: /node_modules/,
        loader: 'swc-loader',
        options: {
          jsc: {
            target: 'es2020',
            parser: { syntax: 'typescript', tsx: true },
            transform: { react: { runtime: 'classic' } },
          },
        },
      },
    ],
  },
  plugins: [
    new StaticFiles({
      version,
      files: {
        'plugin.json': path.join(src, 'plugin.json'),
        'img/logo.svg': path.join(src, 'img/logo.svg'),
        ...Object.fromEntries(fs.readdirSync(dashboards).map((name) => [`dashboards/${name}`, path.join(dashboards, name)])),
        'README.md': path.join(__dirname, 'README.md'),
        'CHANGELOG.md': path.join(__dirname, 'CHANGELOG.md'),
        LICENSE: path.join(__dirname, 'LICENSE'),
      },
    }),
  ],
});
