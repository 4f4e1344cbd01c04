import { Agent, type IncomingHttpHeaders, type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps, Agent as SecureAgent } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { BrokerError } from '@midge/protocol-core'
import type { AddressBook } from './address-book.ts'
import { normalHost } from './address-guard.ts'

/** One request to somebody else's server. */
export interface HttpCall {
  /** `http:` or `https:`, whose certificate is checked. */
  url: string
  method: 'GET' | 'POST'
  headers?: Readonly<Record<string, string>>
  body?: string
  /** From the first look-up to the last byte of the answer. */
  timeoutMs: number
  /** A longer answer is given up. */
  answerBytesMax: number
}

/** What it answered, whatever the status; a redirection is an answer like any other and is not followed. */
export interface HttpAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
}

/** Connections kept open to one server while nothing is asked, and for how long. */
const IDLE_SOCKETS_MAX = 4
const IDLE_MS_MAX = 15_000
/** At one time, over all servers; whoever calls has a bound of its own. */
const CALLS_MAX = 2048
const HEADER_BYTES_MAX = 16 * 1024

/**
 * Calls HTTP servers that users of this node have named: only at addresses that an {@link AddressBook} allows, within a
 * time and a size, and never where a redirection points to.
 */
export class HttpCaller {
  private readonly book: AddressBook
  private readonly agent: Agent
  private readonly secureAgent: SecureAgent
  private running = 0

  constructor(book: AddressBook) {
    this.book = book
    const lookup: LookupFunction = (host, { all }, done) => this.lookup(host, all === true, done)
    const options = { keepAlive: true, maxFreeSockets: IDLE_SOCKETS_MAX, timeout: IDLE_MS_MAX, lookup }
    this.agent = new Agent(options)
    this.secureAgent = new SecureAgent(options)
  }

  /**
   * @throws BrokerError `MIDGE_OUTBOUND_REFUSED` when the address is not allowed; `MIDGE_OUTBOUND_FAILED` (retryable) when
   * there is no complete answer in time and size: whether the server has acted is unknown
   */
  async call(call: HttpCall): Promise<HttpAnswer> {
    if (this.running >= CALLS_MAX) throw failed('too many calls at one time')
    this.running++
    const signal = AbortSignal.timeout(call.timeoutMs)
    try {
      const url = new URL(call.url)
      // An address in the place of a name is connected to without any look-up.
      if (isIP(normalHost(url.hostname)) !== 0) await this.book.find(url.hostname)
      return await this.send(url, call, signal)
    } catch (error) {
      if (error instanceof BrokerError) throw error
      throw failed(signal.aborted ? `no answer in ${call.timeoutMs} ms` : describe(error), error)
    } finally {
      this.running--
    }
  }

  /** Closes what is kept open. */
  close(): void {
    this.agent.destroy()
    this.secureAgent.destroy()
  }

  private send(
    url: URL,
    { method, headers, body, answerBytesMax }: HttpCall,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const isSecure = url.protocol === 'https:'
    const options = {
      method,
      signal,
      agent: isSecure ? this.secureAgent : this.agent,
      maxHeaderSize: HEADER_BYTES_MAX,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }) },
    }
    return new Promise((resolve, reject) => {
      const onAnswer = (answer: IncomingMessage): void => {
        collect(answer, answerBytesMax).then(
          bytes => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: bytes }),
          reject,
        )
      }
      const request = isSecure ? requestHttps(url, options, onAnswer) : requestHttp(url, options, onAnswer)
      request.on('error', reject)
      request.end(body)
    })
  }

  private lookup(host: string, isForAll: boolean, done: LookupDone): void {
    this.book.find(host).then(
      found => {
        if (isForAll) done(null, found)
        else done(null, found[0]?.address ?? '', found[0]?.family)
      },
      (error: Error) => done(error, ''),
    )
  }
}

type LookupDone = Parameters<LookupFunction>[2]

async function collect(answer: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of answer) {
    // Without an encoding a stream of bytes gives nothing else.
    const chunk = part as Buffer
    bytes += chunk.length
    if (bytes > bytesMax) {
      answer.destroy()
      throw failed(`an answer of more than ${bytesMax} bytes`)
    }
    parts.push(chunk)
  }
  return Buffer.concat(parts)
}

function failed(text: string, cause?: unknown): BrokerError {
  return new BrokerError('MIDGE_OUTBOUND_FAILED', text, { retryable: true, cause })
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
