import { connect, createServer, isIPv4, type Server, type Socket } from 'node:net'
import type { HealthMonitor } from './node-health.ts'
import type { NodePlan } from './node-process.ts'

const SIGNATURE: Buffer = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a])
const COMMAND_PROXY = 0x21
const FAMILY_TCP4 = 0x11
const FAMILY_TCP6 = 0x21
const CONNECT_TIMEOUT_MS = 5000

/** The two ends of a client's connection to the load balancer. */
export interface ProxiedConnection {
  sourceAddress: string
  sourcePort: number
  destinationAddress: string
  destinationPort: number
}

/** The header of PROXY protocol version 2 that tells a node who the client is. */
export function encodeProxyHeader(connection: ProxiedConnection): Buffer {
  const { sourceAddress, destinationAddress } = connection
  const isInet = isIPv4(sourceAddress) && isIPv4(destinationAddress)
  const toBytes = isInet ? ipv4Bytes : ipv6Bytes
  const addresses = Buffer.concat([toBytes(sourceAddress), toBytes(destinationAddress)])
  const rest = Buffer.alloc(4)
  rest.writeUInt16BE(addresses.length + 4, 2)
  rest[0] = COMMAND_PROXY
  rest[1] = isInet ? FAMILY_TCP4 : FAMILY_TCP6
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(connection.sourcePort, 0)
  ports.writeUInt16BE(connection.destinationPort, 2)
  return Buffer.concat([SIGNATURE, rest, addresses, ports])
}

function ipv4Bytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number))
}

function ipv6Bytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), ipv4Bytes(address)])
  const groupsOf = (text: string): string[] => (text === '' ? [] : text.split(':'))
  const [left = '', right] = (address.split('%', 1)[0] ?? '').split('::')
  const head = groupsOf(left)
  const tail = groupsOf(right ?? '')
  const gap = Array.from({ length: 8 - head.length - tail.length }, () => '0')
  const bytes = Buffer.alloc(16)
  for (const [index, group] of [...head, ...gap, ...tail].entries())
    bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2)
  return bytes
}

/**
 * A TCP load balancer for trying things out where HAProxy is not installed: the healthy nodes in turn, a PROXY header
 * first, then bytes both ways with back-pressure.
 */
export class LoadBalancer {
  private readonly nodes: readonly NodePlan[]
  private readonly health: HealthMonitor
  private readonly server: Server
  private readonly clients: Set<Socket> = new Set()
  private turn = 0

  constructor(nodes: readonly NodePlan[], health: HealthMonitor) {
    this.nodes = nodes
    this.health = health
    this.server = createServer({ noDelay: true, keepAlive: true, pauseOnConnect: true }, client => this.serve(client))
  }

  /** @returns the port, which is a free one when `port` is 0 */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject)
      this.server.listen(port, host, () => {
        const address = this.server.address()
        resolve(typeof address === 'object' && address !== null ? address.port : port)
      })
    })
  }

  /** Gives the port back and ends all connections. */
  async close(): Promise<void> {
    const closed = new Promise(resolve => this.server.close(resolve))
    for (const client of this.clients) client.destroy()
    await closed
  }

  private serve(client: Socket): void {
    this.clients.add(client)
    client.once('close', () => this.clients.delete(client))
    client.on('error', () => client.destroy())
    this.connectToNode(client, this.nodes.length)
  }

  private connectToNode(client: Socket, attempts: number): void {
    const node = this.nextNode()
    if (node === undefined || attempts === 0 || client.destroyed) {
      client.destroy()
      return
    }
    const upstream = connect({ port: node.tcpPort, host: '127.0.0.1', noDelay: true })
    upstream.setTimeout(CONNECT_TIMEOUT_MS, () => upstream.destroy(new Error('The node did not answer in time')))
    upstream.once('error', () => {
      this.health.markDown(node)
      this.connectToNode(client, attempts - 1)
    })
    upstream.once('connect', () => {
      upstream.removeAllListeners('error')
      upstream.setTimeout(0)
      join(client, upstream)
    })
  }

  private nextNode(): NodePlan | undefined {
    for (let tries = 0; tries < this.nodes.length; tries++) {
      const node = this.nodes[this.turn++ % this.nodes.length]
      if (node !== undefined && this.health.isReady(node.id)) return node
    }
    return undefined
  }
}

function join(client: Socket, upstream: Socket): void {
  upstream.on('error', () => upstream.destroy())
  upstream.once('close', () => client.destroySoon())
  if (client.destroyed) {
    upstream.destroy()
    return
  }
  client.once('close', () => upstream.destroySoon())
  upstream.write(
    encodeProxyHeader({
      sourceAddress: client.remoteAddress ?? '127.0.0.1',
      sourcePort: client.remotePort ?? 0,
      destinationAddress: client.localAddress ?? '127.0.0.1',
      destinationPort: client.localPort ?? 0,
    }),
  )
  client.pipe(upstream)
  upstream.pipe(client)
}
