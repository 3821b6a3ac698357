const hooks = require('eslint-plugin-react-hooks');
const ts = require('typescript-eslint');

module.exports = ts.config(
  { ignores: ['**/node_modules/', '**/dist/', 'harness/out/'] },
  {
    files: ['**/*.{ts,tsx}'],
    extends: [ts.configs.recommended],
    plugins: { 'react-hooks': hooks },
    rules: {
      ...hooks.configs.recommended.rules,
      'no-restricted-imports': [
        'error',
        {
          paths: [
            { name: 'react/jsx-runtime', message: 'Grafana shares it from 12.3 only.' },
            {
              name: 'react',
              importNames: ['use', 'useActionState', 'useFormStatus', 'useOptimistic', 'useEffectEvent', 'Activity'],
              message: 'React 19 only: Grafana 12 runs React 18.',
            },
          ],
        },
      ],
    },
  },
  {
    // Stands in for Grafana, whose API is far wider than what it is used for.
    files: ['harness/**'],
    rules: { '@typescript-eslint/no-explicit-any': 'off', 'no-restricted-imports': 'off' },
  }
);
