// Stock Aedes as its documentation starts it, in a process of its own: `main.js <port> [redis port]`.
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { Aedes, type AedesOptions } from 'aedes'
import redisEmitter from 'mqemitter-redis'

type RedisPersistence = (at: { host: string; port: number }) => unknown

function redisParts(port: number): AedesOptions {
  const at = { host: '127.0.0.1', port }
  // The package has no types.
  const persistence = createRequire(import.meta.url)('aedes-persistence-redis') as RedisPersistence
  return { mq: redisEmitter(at), persistence: persistence(at) }
}

const [port, redisPort] = process.argv.slice(2).map(Number)
const broker = await Aedes.createBroker(redisPort === undefined ? {} : redisParts(redisPort))
createServer(broker.handle).listen(port, '127.0.0.1')
