import { decideAcl, RuleBook } from '@midge/protocol-core'
import { type HttpServer, startHttp } from '../../http/server.ts'
import type { Logger } from '../../ports.ts'
import type { ControlPlane } from '../../tenancy/control-plane.ts'
import { MemoryRecords } from '../../tenancy/testing/memory-records.ts'
import { startPlane } from '../../tenancy/testing/test-plane.ts'
import type { ApiParts } from '../api-parts.ts'
import { mountApi } from '../mount-api.ts'
import { MemoryViews } from './memory-views.ts'

/** One answer, read to its end. */
export interface ApiAnswer {
  status: number
  headers: Headers
  text: string
  /** The text as JSON; `undefined` when it is empty. */
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts on whatever came over the wire
  json: any
}

/** What a request may have beside method and path. */
export interface ApiSent {
  key?: string
  headers?: Record<string, string>
  body?: unknown
}

/** The API over a control plane in memory, on a port of its own. */
export class TestApi {
  readonly plane: ControlPlane
  readonly views: MemoryViews
  readonly records: MemoryRecords
  /** Opens everything. */
  readonly operatorKey: string
  /** What was done to instances beyond their records, and to which. */
  readonly deeds: string[]
  /** Lines of the log. */
  readonly logged: object[]
  readonly port: number
  /** Set to false for a node that is not ready. */
  isStarted = true
  /** The time by which the API goes; it stands still but for what a test adds. */
  nowMs: number = Date.now()
  private readonly server: HttpServer

  private constructor(
    fields: Pick<TestApi, 'plane' | 'views' | 'records' | 'operatorKey' | 'deeds' | 'logged'> & { server: HttpServer },
  ) {
    this.plane = fields.plane
    this.views = fields.views
    this.records = fields.records
    this.operatorKey = fields.operatorKey
    this.deeds = fields.deeds
    this.logged = fields.logged
    this.server = fields.server
    this.port = fields.server.port
  }

  /** @param parts - in place of those of a node without clients */
  static async start(parts: Partial<ApiParts> = {}): Promise<TestApi> {
    const records = new MemoryRecords()
    const plane = await startPlane(records)
    const deeds: string[] = []
    const logged: object[] = []
    const views = new MemoryViews(deeds)
    const state: { api: TestApi | undefined } = { api: undefined }
    const all: ApiParts = {
      tenancy: plane,
      explain: explainBy(plane),
      passwordMatches: async (hash, password) => hash === `hash of ${password}`,
      listeners: () => [
        { transport: 'tcp', port: 1883 },
        { transport: 'tls', port: 8883 },
      ],
      isStarted: () => state.api?.isStarted ?? true,
      views,
      ...{
        nodeId: 'test-node',
        version: '1.2.3',
        logger: loggerInto(logged),
        now: () => state.api?.nowMs ?? 0,
      },
      ...parts,
    }
    const { key } = await plane.apiKeys.create({ label: 'test', scope: 'operator' }, { kind: 'node', id: 'test' })
    const server = await startHttp({ host: '127.0.0.1', port: 0 }, NO_SOURCES, app => mountApi(app, all))
    const api = new TestApi({ plane, views, records, operatorKey: key, deeds, logged, server })
    state.api = api
    return api
  }

  /** @param sent - with the operator's key unless it has another one, or headers with `authorization` */
  async send(method: string, path: string, sent: ApiSent = {}): Promise<ApiAnswer> {
    const headers: Record<string, string> = { ...sent.headers }
    const key = sent.key ?? this.operatorKey
    if (key !== '') headers['authorization'] ??= `Bearer ${key}`
    const isText = typeof sent.body === 'string'
    if (sent.body !== undefined) headers['content-type'] ??= 'application/json'
    const body = sent.body === undefined ? {} : { body: isText ? String(sent.body) : JSON.stringify(sent.body) }
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, { method, headers, ...body })
    const text = await response.text()
    const isJson = /[/+]json/.test(response.headers.get('content-type') ?? '') && text !== ''
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined }
  }

  /** An instance with its key. */
  async instance(id: string, plan = 'unlimited'): Promise<{ key: string; password: string; username: string }> {
    const { json } = await this.send('POST', '/api/v1/instances', { body: { id, name: id, plan } })
    return { key: json.apiKey, password: json.password, username: json.username }
  }

  stop(): Promise<void> {
    return this.server.stop()
  }
}

const NO_SOURCES = {
  readiness: () => ({ ready: true, reasons: [] }),
  status: () => {
    throw new Error('not asked here')
  },
  metrics: { contentType: 'text/plain', text: async () => '' },
}

function explainBy(plane: ControlPlane): ApiParts['explain'] {
  return (instance, client, question) => {
    const user = client.username === undefined ? undefined : plane.users.find(instance, client.username)
    if (user?.isUnrestricted) return { allowed: true, rule: undefined }
    const book = new RuleBook()
    for (const rule of plane.rules.list(instance, { countMax: 1000 }).items) book.put(rule)
    return decideAcl({ trees: book.of(client.username), identity: client }, question)
  }
}

function loggerInto(lines: object[]): Logger {
  const write = (fields: object): void => void lines.push(fields)
  const logger: Logger = {
    ...{ trace: write, debug: write, info: write, warn: write, error: write },
    isLevelEnabled: () => true,
    child: () => logger,
  }
  return logger
}
