// The rules for TypeScript and JavaScript. `tests/run lint` copies this file beside the installed packages, because
// they lie outside of the checkout. Types are checked by each package's own `tsc`, so no rule here needs them.
import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

export default defineConfig(
  globalIgnores([
    '**/{build,cdk.out,dist,lib,out,target}/',
    // n8n's own rules are stricter; their configuration lies in that folder.
    'integrations/n8n-nodes-placet/',
    // Other changes are under way in these folders. Take a line out, run `tests/run lint`, and mend what it finds.
    'crates/http/src/pages/',
    'integrations/agents/',
    'integrations/zapier/',
    'tests/n8n/',
  ]),
  js.configs.recommended,
  tseslint.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
      // The compiler knows the names that Node and the browser define; in plain JavaScript the tests find a wrong one.
      'no-undef': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^_' }],
      // Tests take parsed documents apart.
      '@typescript-eslint/no-explicit-any': 'off',
    },
  },
);
