const fs = require('fs');
const { sources, Compilation } = require('webpack');

/**
 * Adds files to the output as they are, with %VERSION% and %TODAY% filled in in
 * plugin.json: Grafana shows both. SOURCE_DATE_EPOCH makes the day repeatable.
 */
class StaticFiles {
  constructor({ files, version }) {
    this.files = files;
    this.version = version;
  }

  apply(compiler) {
    compiler.hooks.thisCompilation.tap('StaticFiles', (compilation) => {
      const stage = Compilation.PROCESS_ASSETS_STAGE_ADDITIONAL;
      compilation.hooks.processAssets.tap({ name: 'StaticFiles', stage }, () => this.emit(compilation));
    });
  }

  emit(compilation) {
    for (const [name, file] of Object.entries(this.files)) {
      compilation.fileDependencies.add(file);
      let content = fs.readFileSync(file);
      if (name === 'plugin.json') {
        content = content.toString().replaceAll('%VERSION%', this.version).replaceAll('%TODAY%', today());
      }
      compilation.emitAsset(name, new sources.RawSource(content));
    }
  }
}

function today() {
  const epoch = process.env.SOURCE_DATE_EPOCH;
  return new Date(epoch ? epoch * 1000 : Date.now()).toISOString().slice(0, 10);
}

module.exports = { StaticFiles };
