import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

// Biome does everything that needs no types. These three need them, and a lost promise here is a lost message.
export default defineConfig(
  { ignores: ['**/dist/**', '**/node_modules/**', 'scripts/**', '**/bin/**'] },
  {
    files: ['packages/*/src/**/*.ts', 'test/**/*.ts'],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          // The runner awaits these itself.
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['test', 'it', 'describe', 'suite', 'before', 'after'] },
          ],
        },
      ],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    },
  },
)
