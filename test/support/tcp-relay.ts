import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/**
 * A TCP load balancer: every new connection goes to the first of its targets that accepts it, in their order. A target
 * whose process is gone is passed over.
 */
export class TcpRelay {
  readonly port: number
  private readonly server: Server
  private readonly sockets: Set<Socket>

  private constructor(server: Server, sockets: Set<Socket>) {
    this.server = server
    this.sockets = sockets
    this.port = (server.address() as AddressInfo).port
  }

  /** @param targets - ports on this machine */
  static async start(targets: readonly number[]): Promise<TcpRelay> {
    const sockets = new Set<Socket>()
    const server = createServer(client => {
      track(sockets, client)
      void relay(client, targets, sockets)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new TcpRelay(server, sockets)
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    this.server.close()
    await once(this.server, 'close')
  }
}

function track(sockets: Set<Socket>, socket: Socket): void {
  sockets.add(socket)
  socket.on('error', () => socket.destroy())
  socket.on('close', () => sockets.delete(socket))
}

async function relay(client: Socket, targets: readonly number[], sockets: Set<Socket>): Promise<void> {
  for (const port of targets) {
    const target = await reach(port)
    if (target === undefined) continue
    track(sockets, target)
    client.on('close', () => target.destroy())
    target.on('close', () => client.destroy())
    client.pipe(target)
    target.pipe(client)
    return
  }
  client.destroy()
}

function reach(port: number): Promise<Socket | undefined> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    socket.once('connect', () => resolve(socket))
    socket.once('error', () => resolve(undefined))
  })
}
