// `npm start`: from a fresh clone to a running node, in this one process.
import { createServer } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { checkNodeVersion, ensureBuilt, ensureInstalled, root, say } from './prepare.mjs'

checkNodeVersion()
ensureInstalled()
ensureBuilt()

function isFree(port) {
  const probe = createServer()
  return new Promise(resolve => {
    probe.once('error', () => resolve(false))
    probe.listen(port, '0.0.0.0', () => probe.close(() => resolve(true)))
  })
}

// A first try should find WebSocket too, but not fail because some other program has its well-known port.
const args = process.argv.slice(2)
const isConfigured = args.includes('--config') || process.env.MIDGE_CONFIG_FILE || process.env.MIDGE_LISTENERS_WS_PORT
if (!isConfigured && !args.some(arg => arg.includes('listeners.ws.port'))) {
  if (await isFree(8080)) process.env.MIDGE_LISTENERS_WS_PORT = '8080'
  else say('port 8080 is in use, so WebSocket is off: MIDGE_LISTENERS_WS_PORT chooses another')
}

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

// Imported, not spawned: signals and the exit code are then the node's own.
const bin = join(root, 'packages/broker-node/bin/midge.js')
process.argv = [process.execPath, bin, 'start', '--details', ...args]
await import(pathToFileURL(bin).href)
