import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'

/** A request whose signature is right. */
export interface Heard {
  id: string
  droppedCount: number
  events: Record<string, unknown>[]
}

/** A server of somebody who checks signatures as docs/webhooks.md says. */
export class WebhookServer {
  static readonly secret = 'a secret of sixteen'
  readonly heard: Heard[] = []
  /** Statuses of the next requests; 204 when there is none. */
  readonly statuses: number[] = []
  hangs = false
  requestCount = 0
  badCount = 0
  runningMax = 0
  private running = 0
  private readonly server: Server

  private constructor() {
    this.server = createServer((request, response) => {
      this.requestCount++
      this.running++
      this.runningMax = Math.max(this.runningMax, this.running)
      response.on('close', () => this.running--)
      let body = ''
      request.setEncoding('utf8').on('data', part => {
        body += part
      })
      request.on('end', () => {
        if (this.hangs) return
        const {
          'midge-webhook-id': id,
          'midge-webhook-timestamp': at,
          'midge-webhook-signature': said,
        } = request.headers
        const right = createHmac('sha256', WebhookServer.secret).update(`${id}.${at}.${body}`).digest('hex')
        const isRight = said === `v1=${right}` && Math.abs(Date.now() / 1000 - Number(at)) < 300
        const status = this.statuses.shift() ?? 204
        if (!isRight) this.badCount++
        else if (status === 204) this.heard.push(JSON.parse(body))
        response.writeHead(status).end()
      })
    })
  }

  static async start(): Promise<WebhookServer> {
    const own = new WebhookServer()
    own.server.listen(0, '127.0.0.1')
    await once(own.server, 'listening')
    return own
  }

  get url(): string {
    const address = this.server.address()
    if (address === null || typeof address === 'string') throw new Error('the server is not open')
    return `http://127.0.0.1:${address.port}/hook`
  }

  /** All that has been accepted, in order. */
  get events(): Record<string, unknown>[] {
    return this.heard.flatMap(({ events }) => events)
  }

  stop(): void {
    this.server.closeAllConnections()
    this.server.close()
  }
}
