// Bundles the page into out/, with the libraries of Grafana in it.
const path = require('path');
const esbuild = require('esbuild');

const { shared } = require('../build/externals');
const fs = require('fs');

const shell = path.join(__dirname, 'shell.tsx');
const missing = shared.filter((name) => !fs.readFileSync(shell, 'utf8').includes(`from '${name}'`));
if (missing.length > 0) {
  throw new Error(`shell.tsx does not share ${missing.join(', ')}`);
}

esbuild.buildSync({
  entryPoints: [shell],
  outfile: path.join(__dirname, 'out/shell.js'),
  bundle: true,
  minify: true,
  jsx: 'transform',
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.svg': 'dataurl', '.ttf': 'dataurl', '.woff2': 'dataurl' },
  logLevel: 'warning',
});
