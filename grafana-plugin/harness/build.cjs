// Bundles the page into out/ with the libraries of Grafana that lie in the
// folder argv[2]: those of the newest Grafana, or oldest/.
const fs = require('fs');
const path = require('path');
const esbuild = require('esbuild');

const { shared } = require('../build/externals');

const libraries = path.resolve(process.argv[2] ?? path.join(__dirname, '..'));
const shell = fs.readFileSync(path.join(__dirname, 'shell.tsx'), 'utf8');
const missing = shared.filter((name) => !shell.includes(`from '${name}'`));
if (missing.length > 0) {
  throw new Error(`shell.tsx does not share ${missing.join(', ')}`);
}

esbuild.buildSync({
  stdin: { contents: shell, loader: 'tsx', resolveDir: libraries, sourcefile: 'shell.tsx' },
  outfile: path.join(__dirname, 'out/shell.js'),
  bundle: true,
  minify: true,
  jsx: 'transform',
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  // The ES modules of 12.0 import types that are not there when it is run.
  alias: { '@grafana/ui': require.resolve('@grafana/ui', { paths: [libraries] }) },
  loader: { '.svg': 'dataurl', '.ttf': 'dataurl', '.woff2': 'dataurl' },
  logLevel: 'warning',
});
