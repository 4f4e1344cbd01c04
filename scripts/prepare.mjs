// What the other scripts share: find out whether dependencies and build are current, and make them so.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const NODE_MIN = [20, 19]

// Debian puts servers where the path of an ordinary user does not look.
process.env.PATH = [process.env.PATH, '/usr/local/sbin', '/usr/sbin', '/sbin'].join(delimiter)

export function say(text) {
  console.log(`› ${text}`)
}

export function fail(text) {
  console.error(`✗ ${text}`)
  process.exit(1)
}

export function checkNodeVersion() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return
  fail(`Midge needs Node.js ${NODE_MIN.join('.')} or newer, this is ${process.versions.node}: https://nodejs.org`)
}

/** Runs a command in the root with this terminal; returns its exit code. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options })
  if (result.error !== undefined) {
    console.error(`✗ cannot run ${command}: ${result.error.message}`)
    return 1
  }
  return result.status ?? 1
}

/** Runs a tool of node_modules by the file that its package names. */
export function runTool(packageName, binary, args, options) {
  const folder = join(root, 'node_modules', packageName)
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const file = typeof bin === 'string' ? bin : bin[binary]
  return run(process.execPath, [join(folder, file), ...args], options)
}

function npm(args, options) {
  const script = process.env.npm_execpath
  return script?.endsWith('.js') ? run(process.execPath, [script, ...args], options) : run('npm', args, options)
}

/** True when everything that the lock file asks for is there; packages for other platforms may be missing. */
function isInstalled() {
  const read = path => JSON.parse(readFileSync(join(root, path), 'utf8')).packages
  let wanted
  let there
  try {
    wanted = read('package-lock.json')
    there = read('node_modules/.package-lock.json')
  } catch {
    return false
  }
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.includes('node_modules/') || entry.optional || entry.devOptional || entry.peer) return true
    if (!existsSync(join(root, path))) return false
    return entry.link || there[path]?.version === entry.version
  })
}

/** Installs what the lock file asks for, unless it is there. */
export function ensureInstalled() {
  if (isInstalled()) return
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund']
  say('installing dependencies, this takes a minute')
  // `npm ci` refuses a lock file that lacks packages of other platforms, which a partial mirror of the registry causes;
  // `npm install` takes the same versions and passes over what this platform does not need.
  if (npm(['ci', ...flags], { stdio: 'ignore' }) === 0) return
  if (npm(['install', '--no-save', ...flags]) === 0) return
  fail('npm install failed: see its message above; it needs a package registry that it can reach')
}

function filesBelow(folder, accept, found = []) {
  if (!existsSync(folder)) return found
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name === 'node_modules') continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) filesBelow(path, accept, found)
    else if (accept(path)) found.push(path)
  }
  return found
}

export { filesBelow }

export const packageFolders = readdirSync(join(root, 'packages'))
  .map(name => join(root, 'packages', name))
  .filter(folder => existsSync(join(folder, 'tsconfig.json')))

/** File whose age says when the packages (and with them `npm start`) were last built. */
export const buildStamp = join(root, 'packages/broker-node/dist/.built')

function isBuilt() {
  if (!existsSync(buildStamp)) return false
  const builtMs = statSync(buildStamp).mtimeMs
  const inputs = packageFolders.flatMap(folder => [
    ...filesBelow(join(folder, 'src'), path => !path.endsWith('.test.ts')),
    join(folder, 'tsconfig.json'),
  ])
  inputs.push(join(root, 'tsconfig.base.json'), join(root, 'package-lock.json'))
  return inputs.every(path => statSync(path).mtimeMs <= builtMs)
}

/** Builds the packages when a source is newer than the last build. */
export function ensureBuilt() {
  if (isBuilt()) return
  say('building')
  if (run(process.execPath, [join(root, 'scripts/build.mjs'), '--packages']) !== 0) fail('the build failed: see above')
}

/** True when the program is on the path. */
export function hasProgram(name) {
  return process.env.PATH.split(delimiter).some(folder => folder !== '' && existsSync(join(folder, name)))
}
