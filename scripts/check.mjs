// `npm run check`: format, lint, types, generated documents, dead code, layers. Runs all of it, then says what failed.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  checkNodeVersion,
  ensureInstalled,
  fail,
  filesBelow,
  packageFolders,
  root,
  run,
  runTool,
  say,
} from './prepare.mjs'

checkNodeVersion()
ensureInstalled()

const node = args => run(process.execPath, args)
const archTests = () => {
  const files = filesBelow(join(root, 'test/dist/arch'), path => path.endsWith('.test.js'))
  return files.length === 0
    ? 0
    : node(['--test', '--test-reporter=spec', '--test-reporter-destination=stdout', ...files])
}
const generators = filesBelow(join(root, 'scripts'), path => /generate-.*\.mjs$/.test(path))

const STEPS = [
  ['format and lint', () => runTool('@biomejs/biome', 'biome', ['ci', '--error-on-warnings', '.'])],
  ['types and build', () => node(['scripts/build.mjs'])],
  ['lint with types', () => runTool('eslint', 'eslint', ['--max-warnings', '0', 'packages', 'test'])],
  ['generated documents', () => Math.max(...generators.map(path => node([path, '--check'])))],
  ['dead code', () => (existsSync(join(root, 'knip.json')) ? runTool('knip', 'knip', ['--no-progress']) : 0)],
  ['package doors', () => Math.max(...packageFolders.map(at => runTool('publint', 'publint', [at, '--strict'])))],
  ['layers', archTests],
]

const failed = []
for (const [name, step] of STEPS) {
  say(name)
  if (step() !== 0) failed.push(name)
}
if (failed.length > 0) fail(`failed: ${failed.join(', ')}`)
say('all checks passed')
