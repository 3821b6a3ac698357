process.env.TZ = 'UTC';

// Packages that are published as ES modules only: Jest runs CommonJS, so swc
// rewrites them as it does our own files.
const esModules = [
  '@grafana',
  '@react-hookz/web',
  '@ver0/deep-equal',
  '@wojtekmaj/date-utils',
  'd3',
  'd3-.*',
  'delaunator',
  'get-user-locale',
  'internmap',
  'marked',
  'memoize',
  'mimic-function',
  'monaco-promql',
  'ol',
  'pbf',
  'rbush',
  'react-calendar',
  'react-colorful',
  'robust-predicates',
  'rxjs',
  'uuid',
];

module.exports = {
  // The editors of Grafana 13 take seconds to draw on a busy machine.
  testTimeout: 60000,
  testEnvironment: 'jsdom',
  testEnvironmentOptions: { customExportConditions: ['node', 'node-addons'] },
  rootDir: 'src',
  setupFiles: ['<rootDir>/../../build/jest-setup.js'],
  moduleNameMapper: {
    '\\.(css|scss|sass)$': '<rootDir>/../../build/jest-asset.js',
    '\\.svg$': '<rootDir>/../../build/jest-asset.js',
    // Icons are fetched; what they look like is not our business here.
    '^react-inlinesvg$': '<rootDir>/../../build/jest-icon.js',
  },
  transform: {
    '^.+\\.m?[tj]sx?$': [
      '@swc/jest',
      {
        sourceMaps: 'inline',
        jsc: {
          target: 'es2022',
          parser: { syntax: 'typescript', tsx: true },
          transform: { react: { runtime: 'classic' } },
        },
      },
    ],
  },
  transformIgnorePatterns: [`node_modules/(?!(?:.*/)?(${esModules.join('|')})/)`],
};
