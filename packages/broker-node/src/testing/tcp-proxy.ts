import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A way to a server that a test can cut without closing a connection. */
export interface TcpProxy {
  port: number
  /** Nothing is carried any more, in either direction, and nothing is closed; new connections are accepted. */
  freeze(): void
  /** What the server says to connections that have subscribed to a channel is lost. */
  deafenSubscribers(): void
  /** New connections work; those of the past stay as they are. */
  heal(): void
  /** Connections accepted so far. */
  readonly accepted: number
  stop(): Promise<void>
}

/** Starts a proxy to a port of this machine. */
export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  const pairs = new Set<[Socket, Socket]>()
  const subscribers = new Set<Socket>()
  let isFrozen = false
  let accepted = 0
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  }
  const silence = (from: Socket): void => {
    from.unpipe()
    from.on('data', () => undefined)
  }
  const server = createServer(near => {
    accepted++
    keep(near)
    if (isFrozen) {
      silence(near)
      return
    }
    const far = connect(targetPort, '127.0.0.1')
    keep(far)
    const pair: [Socket, Socket] = [near, far]
    pairs.add(pair)
    near.on('data', data => {
      if (/\r\nsubscribe\r\n/i.test(data.toString('latin1'))) subscribers.add(far)
    })
    near.pipe(far)
    far.pipe(near)
    const close = (): void => {
      pairs.delete(pair)
      near.destroy()
      far.destroy()
    }
    near.on('close', close)
    far.on('close', close)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    port: address.port,
    freeze: () => {
      isFrozen = true
      for (const pair of pairs) for (const socket of pair) silence(socket)
    },
    deafenSubscribers: () => {
      for (const far of subscribers) silence(far)
    },
    heal: () => {
      isFrozen = false
    },
    get accepted() {
      return accepted
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
