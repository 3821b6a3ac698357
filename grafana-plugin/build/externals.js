// What Grafana 12.0 and later share with plugins. react/jsx-runtime is not among
// them before 12.3: JSX is compiled to React.createElement.
const shared = ['react', 'react-dom', 'rxjs', 'lodash', '@emotion/css', '@grafana/data', '@grafana/runtime', '@grafana/ui'];

const externals = Object.fromEntries(shared.map((name) => [name, `amd ${name}`]));

module.exports = { externals, shared };
