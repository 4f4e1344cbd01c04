import type { MidgeNode } from './midge-node.ts'

/** One answer of the HTTP API. */
export interface ApiAnswer {
  readonly status: number
  readonly text: string
  /** The text as JSON; `undefined` when it is something else. */
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts on whatever came over the wire
  readonly json: any
}

/** Sends requests to the HTTP API of one node. */
export class ApiClient {
  private readonly base: string
  readonly authorization: string

  constructor(node: MidgeNode, key: string) {
    this.base = `http://127.0.0.1:${node.ports.http}`
    this.authorization = `Bearer ${key}`
  }

  /** @param path - from `/api/v1` on, or a whole one that begins with `/api` */
  async send(method: string, path: string, body?: unknown): Promise<ApiAnswer> {
    const headers = {
      authorization: this.authorization,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    }
    const url = `${this.base}${path.startsWith('/api') ? path : `/api/v1${path}`}`
    const response = await fetch(url, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = /[/+]json/.test(response.headers.get('content-type') ?? '') && text !== ''
    return { status: response.status, text, json: isJson ? JSON.parse(text) : undefined }
  }
}
