import type { AddressInfo } from 'node:net'
import { BrokerError } from '@midge/protocol-core'
import { type FastifyInstance, fastify } from 'fastify'
import type { StatusReport } from './status-report.ts'

/** What the HTTP server shows; every function is called per request. */
export interface HttpSources {
  /** Why the node is not ready, in plain words; empty reasons when it is. */
  readiness(): { ready: boolean; reasons: string[] }
  status(): StatusReport
  metrics: { contentType: string; text(): Promise<string> }
}

/** Where it listens; port 0 takes a free one. */
export interface HttpAddress {
  host: string
  port: number
}

/** Puts further routes on a server that does not listen yet. */
export type HttpMount = (app: FastifyInstance) => void

/** A listening HTTP server. */
export interface HttpServer {
  /** The port that is really bound. */
  port: number
  stop(): Promise<void>
}

/** A health answer has no use for a body; whoever mounts routes that take one says how long it may be. */
const BODY_BYTES_MAX = 64 * 1024
const REQUEST_TIMEOUT_MS = 10_000
/** Room for the longest client id, whose characters a URL may spell with nine each. */
const PATH_PART_LENGTH_MAX = 9 * 1024

function addRoutes(app: FastifyInstance, sources: HttpSources): void {
  app.addHook('onSend', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
    reply.header('x-content-type-options', 'nosniff')
  })
  // Answering at all is the proof: the event loop turns.
  app.get('/livez', async () => ({ live: true }))
  app.get('/readyz', async (_request, reply) => {
    const { ready, reasons } = sources.readiness()
    reply.code(ready ? 200 : 503)
    return { ready, reasons }
  })
  app.get('/status', async () => sources.status())
  app.get('/metrics', async (_request, reply) => {
    reply.type(sources.metrics.contentType)
    return sources.metrics.text()
  })
  app.setNotFoundHandler(async (_request, reply) => {
    reply.code(404)
    return { error: 'not found', paths: ['/livez', '/readyz', '/status', '/metrics'] }
  })
}

/**
 * Starts the HTTP server: `/livez`, `/readyz`, `/status`, `/metrics`.
 * @throws BrokerError `MIDGE_PORT_IN_USE` when another process has the port, `MIDGE_CONFIG_INVALID` when the address
 * cannot be bound for another reason
 */
export async function startHttp(address: HttpAddress, sources: HttpSources, mount?: HttpMount): Promise<HttpServer> {
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    routerOptions: { maxParamLength: PATH_PART_LENGTH_MAX },
    // Scrapers hold connections open; a stop does not wait for them.
    forceCloseConnections: true,
  })
  addRoutes(app, sources)
  mount?.(app)
  const { host, port } = address
  try {
    await app.listen({ host, port })
  } catch (cause) {
    await app.close()
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'EADDRINUSE') {
      const text = `${host}:${port} is in use: set \`http.port\` (MIDGE_HTTP_PORT) to a free port, or to 0 for no HTTP`
      throw new BrokerError('MIDGE_PORT_IN_USE', text, { cause })
    }
    const text = `cannot bind ${host}:${port} (${code}): change \`http.port\` (MIDGE_HTTP_PORT) or \`http.host\` (MIDGE_HTTP_HOST)`
    throw new BrokerError('MIDGE_CONFIG_INVALID', text, { cause })
  }
  const bound = app.server.address() as AddressInfo
  return { port: bound.port, stop: () => app.close() }
}
