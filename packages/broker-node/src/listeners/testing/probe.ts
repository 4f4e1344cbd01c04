import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Counters } from '../../counters.ts'
import type { ConnectionAcceptor, ConnectionInfo, Logger, ReadSink } from '../../ports.ts'
import { startListener } from '../listener.ts'
import type { ListenerOptions, RunningListener } from '../options.ts'

/** A CONNECT of MQTT 3.1.1 with the client id `t`. */
export const CONNECT_PACKET: Buffer = Buffer.from('100d00044d5154540402003c000174', 'hex')

/** One connection that was handed over, with what it has sent so far. */
export class Accepted implements ReadSink {
  readonly stream: Duplex
  readonly info: ConnectionInfo
  /** `stream.listenerCount` at hand-over, before the probe adds its own. */
  readonly listenersLeft: string[]
  bytes: Buffer = Buffer.alloc(0)
  dataEvents = 0

  constructor(stream: Duplex, info: ConnectionInfo) {
    this.stream = stream
    this.info = info
    this.listenersLeft = ['data', 'readable', 'error', 'close', 'timeout'].filter(
      name => stream.listenerCount(name) > 0,
    )
    stream.on('data', (chunk: Buffer) => {
      this.dataEvents++
      this.bytes = Buffer.concat([this.bytes, chunk])
    })
    stream.on('error', () => {})
  }

  onRead(buffer: Buffer, length: number): void {
    this.bytes = Buffer.concat([this.bytes, buffer.subarray(0, length)])
  }

  /** Waits until so many bytes have arrived. */
  async received(count: number): Promise<Buffer> {
    await until(() => this.bytes.length >= count, `${count} bytes`)
    return this.bytes
  }
}

/** An acceptor that keeps what it gets. */
export class ProbeAcceptor implements ConnectionAcceptor {
  readonly accepted: Accepted[] = []
  private taken = 0

  accept(stream: Duplex, info: ConnectionInfo): void {
    this.accepted.push(new Accepted(stream, info))
  }

  acceptReads(stream: Duplex, info: ConnectionInfo): ReadSink {
    const accepted = new Accepted(stream, info)
    this.accepted.push(accepted)
    return accepted
  }

  /** The next connection that was not asked for before. */
  async next(): Promise<Accepted> {
    const index = this.taken++
    await until(() => this.accepted.length > index, 'a connection')
    const accepted = this.accepted[index]
    if (accepted === undefined) throw new Error('unreachable')
    return accepted
  }
}

/** A logger that keeps its lines. */
export class ProbeLogger implements Logger {
  readonly lines: { level: string; text: string; fields: object }[] = []
  trace = (fields: object, text: string): void => this.add('trace', fields, text)
  debug = (fields: object, text: string): void => this.add('debug', fields, text)
  info = (fields: object, text: string): void => this.add('info', fields, text)
  warn = (fields: object, text: string): void => this.add('warn', fields, text)
  error = (fields: object, text: string): void => this.add('error', fields, text)
  isLevelEnabled(): boolean {
    return true
  }
  child(): Logger {
    return this
  }
  private add(level: string, fields: object, text: string): void {
    this.lines.push({ level, text, fields })
  }
}

/** A running listener and everything a test wants to look at. */
export interface Bench {
  listener: RunningListener
  port: number
  acceptor: ProbeAcceptor
  logger: ProbeLogger
  counters: Counters
  close(): Promise<void>
}

/** Starts a listener on a free port of the loopback interface. */
export async function startBench(overrides: Partial<ListenerOptions> = {}): Promise<Bench> {
  const acceptor = new ProbeAcceptor()
  const logger = new ProbeLogger()
  const counters = new Counters()
  const options: ListenerOptions = {
    kind: 'tcp',
    host: '127.0.0.1',
    port: 0,
    setting: 'listeners.tcp.port',
    connectionsMax: 10_000,
    connectTimeoutMs: 10_000,
    proxyProtocol: false,
    ...overrides,
  }
  const listener = await startListener(options, acceptor, logger, counters)
  const close = async (): Promise<void> => {
    await listener.close()
    for (const { stream } of acceptor.accepted) stream.destroy()
  }
  return { listener, port: listener.address.port, acceptor, logger, counters, close }
}

/** Polls until `isTrue`, or fails after ten seconds. */
export async function until(isTrue: () => boolean, what: string): Promise<void> {
  const deadlineMs = Date.now() + 10_000
  while (!isTrue()) {
    if (Date.now() > deadlineMs) throw new Error(`Waited in vain for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

/** Makes throw-away certificates in a temporary folder; see `test/support/make-certificates.sh` for the files. */
export async function makeCertificateFolder(clientCommonName: string): Promise<{
  path: (file: string) => string
  remove: () => Promise<void>
}> {
  const folder = await mkdtemp(join(tmpdir(), 'midge-tls-'))
  const script = fileURLToPath(new URL('../../../../../test/support/make-certificates.sh', import.meta.url))
  await promisify(execFile)('sh', [script, folder, clientCommonName])
  return { path: file => join(folder, file), remove: () => rm(folder, { recursive: true, force: true }) }
}
