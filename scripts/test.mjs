// `npm test`: everything, from a fresh clone. Words after `--` keep only the test files whose path contains one of them;
// `--coverage` measures how much of the code they run.
import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import {
  checkNodeVersion,
  ensureInstalled,
  fail,
  filesBelow,
  hasProgram,
  packageFolders,
  root,
  run,
  runTool,
  say,
} from './prepare.mjs'

/** Program → the Debian package that has it. */
const PROGRAMS = {
  'redis-server': 'redis-server',
  mosquitto: 'mosquitto',
  mosquitto_pub: 'mosquitto-clients',
  mosquitto_sub: 'mosquitto-clients',
  openssl: 'openssl',
  // A terminal for the commands that ask.
  script: 'bsdutils',
}
const FILE_TIMEOUT_MS = 300_000

function missingPackages() {
  const missing = Object.entries(PROGRAMS).filter(([program]) => !hasProgram(program))
  return [...new Set(missing.map(([, name]) => name))]
}

function ensurePrograms() {
  const wanted = missingPackages()
  if (wanted.length === 0) return
  const install = ['install', '-y', '--no-install-recommends', ...wanted]
  if (process.getuid?.() === 0 && hasProgram('apt-get')) {
    say(`installing ${wanted.join(', ')} (apt-get)`)
    // The packages must not start servers of their own.
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
    if (run('apt-get', install, { env, stdio: 'ignore' }) !== 0) {
      run('apt-get', ['update'], { env, stdio: 'ignore' })
      run('apt-get', install, { env })
    }
  }
  const still = missingPackages()
  if (still.length > 0) fail(`the tests need ${still.join(', ')}: sudo apt-get install ${still.join(' ')}`)
}

/** Compiled tests below a folder, without those whose source is gone. */
function testsBelow(built, sources) {
  const isTest = path => path.endsWith('.test.js')
  return filesBelow(built, isTest).filter(path =>
    existsSync(join(sources, relative(built, path).replace(/\.js$/, '.ts'))),
  )
}

function listGroups() {
  const own = folder => testsBelow(join(root, 'test/dist', folder), join(root, 'test', folder))
  return [
    {
      name: 'unit',
      files: packageFolders.flatMap(at => testsBelow(join(at, 'dist'), join(at, 'src'))),
      concurrency: 2,
    },
    { name: 'arch', files: own('arch'), concurrency: 2 },
    { name: 'conformance', files: own('conformance'), concurrency: 2 },
    { name: 'e2e', files: own('e2e'), concurrency: 1 },
    { name: 'bench', files: own('bench'), concurrency: 1 },
  ]
}

checkNodeVersion()
ensureInstalled()
ensurePrograms()
say('building')
if (run(process.execPath, [join(root, 'scripts/build.mjs')]) !== 0) fail('the build failed: see above')

// A node that a test starts must see only what the test gives it.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MIDGE_')))
const words = process.argv.slice(2).filter(word => word !== '--coverage')
const isMeasured = words.length < process.argv.length - 2
const failed = []
let fileCount = 0
for (const { name, files, concurrency } of listGroups()) {
  const paths = files
    .map(path => relative(root, path))
    .filter(path => words.length === 0 || words.some(word => path.includes(word)))
    .sort()
  if (paths.length === 0) continue
  fileCount += paths.length
  say(`${name}: ${paths.length} files`)
  const flags = ['--test', `--test-concurrency=${concurrency}`, `--test-timeout=${FILE_TIMEOUT_MS}`]
  const reporter = ['--test-reporter=spec', '--test-reporter-destination=stdout']
  const startMs = Date.now()
  const args = [...flags, ...reporter, ...paths]
  const code = isMeasured
    ? runTool('c8', 'c8', ['--clean=false', '--reporter=text', process.execPath, ...args], { env })
    : run(process.execPath, args, { env })
  say(`${name}: ${code === 0 ? 'passed' : 'FAILED'} in ${((Date.now() - startMs) / 1000).toFixed(1)} s`)
  if (code !== 0) failed.push(name)
}
if (fileCount === 0) fail(`no test file's path contains ${words.join(' or ')}`)
if (failed.length > 0) fail(`failed: ${failed.join(', ')}`)
say('all tests passed')
