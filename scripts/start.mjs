// `npm start`: from a fresh clone to a running node, in this one process.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { checkNodeVersion, ensureBuilt, ensureInstalled, root } from './prepare.mjs'

checkNodeVersion()
ensureInstalled()
ensureBuilt()

// A signal to npm ends the shell between npm and this process, which would be left behind with its ports.
if (process.env.npm_lifecycle_event === 'start') {
  const shell = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === shell) return
    clearInterval(watch)
    process.kill(process.pid, 'SIGTERM')
  }, 250)
  watch.unref()
}

// `midge start` and nothing else: the same listeners, the same configuration. Imported, not spawned: signals and the
// exit code are then the node's own.
const bin = join(root, 'packages/broker-node/bin/midge.js')
process.argv = [process.execPath, bin, 'start', '--details', ...process.argv.slice(2)]
await import(pathToFileURL(bin).href)
