const fs = require('fs');
const { sources, Compilation } = require('webpack');

/**
 * Adds files to the output as they are, but for plugin.json, which says version
 * and day (SOURCE_DATE_EPOCH makes it repeatable), and for dashboards: they are
 * imported for whichever data source the user has, not for the provisioned one.
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
      compilation.emitAsset(name, new sources.RawSource(this.fill(name, fs.readFileSync(file))));
    }
  }

  fill(name, content) {
    if (name === 'plugin.json') {
      return content.toString().replaceAll('%VERSION%', this.version).replaceAll('%TODAY%', today());
    }
    return name.startsWith('dashboards/') ? importable(JSON.parse(content)) : content;
  }
}

/** Asks for the data source at import instead of naming one. */
function importable(dashboard) {
  const inputs = {};
  const text = JSON.stringify(
    dashboard,
    (key, value) => {
      if (key !== 'datasource') {
        return value;
      }
      const name = `DS_${value.type.toUpperCase().replaceAll('-', '_')}`;
      inputs[name] = { name, label: value.type, description: '', type: 'datasource', pluginId: value.type, pluginName: value.type };
      return { ...value, uid: `\${${name}}` };
    },
    2
  );
  return JSON.stringify({ __inputs: Object.values(inputs), ...JSON.parse(text) }, null, 2);
}

function today() {
  const epoch = process.env.SOURCE_DATE_EPOCH;
  return new Date(epoch ? epoch * 1000 : Date.now()).toISOString().slice(0, 10);
}

module.exports = { StaticFiles };
