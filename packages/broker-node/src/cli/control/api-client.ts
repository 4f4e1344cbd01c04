import { readFileSync } from 'node:fs'
import { loadConfig, readApiEnvironment } from '../../config/load-config.ts'
import { readBootstrap } from '../../lifecycle/bootstrap.ts'

/** One request to the HTTP API; `path` is behind `/api/v1`. */
export interface ApiRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  path: string
  body?: unknown
  /** How long the answer may take; 30 s when absent. */
  timeoutMs?: number
}

/** The API said no, or could not be asked: `text` names the fix and is for a person. */
export class ApiFailure extends Error {
  /** Of the answer; `undefined` when there was none. */
  readonly status: number | undefined

  constructor(text: string, { status, cause }: { status?: number; cause?: unknown } = {}) {
    super(text, cause === undefined ? undefined : { cause })
    this.name = 'ApiFailure'
    this.status = status
  }
}

/** Where the API is and what opens it. */
export interface ApiDoor {
  url: string
  key: string
}

const TIMEOUT_MS = 30_000
const DEFAULT_URL = 'http://127.0.0.1:18083'

/**
 * Finds address and key: the options, then the environment, then what a node on this machine keeps in its data folder.
 *
 * @throws ApiFailure when there is no key anywhere
 */
export function findAccess(options: { api?: string; apiKeyFile?: string }): ApiDoor {
  const given = readApiEnvironment()
  const url = options.api ?? given.url ?? DEFAULT_URL
  const key = keyFromFile(options.apiKeyFile) ?? given.key ?? localKey()
  if (key === undefined) {
    throw new ApiFailure(
      'no API key: set MIDGE_API_KEY, give --api-key-file, or run this where `midge start` was run (its Details show the key)',
    )
  }
  return { url, key }
}

function keyFromFile(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw new ApiFailure(`cannot read ${path}`, { cause })
  }
}

/** The key of the node on this machine: configured, or made at its first start. */
function localKey(): string | undefined {
  const { bootstrap, dataDir } = loadConfig().config
  return bootstrap.apiKey ?? readBootstrap(dataDir)?.apiKey
}

/** Asks and gives the answer back as it is: JSON, text, or `undefined` for none. */
export async function callApi({ url, key }: ApiDoor, request: ApiRequest): Promise<unknown> {
  const response = await send({ url, key }, request, AbortSignal.timeout(request.timeoutMs ?? TIMEOUT_MS))
  const text = await response.text()
  if (!response.ok) throw refusal(response.status, text)
  if (text === '') return undefined
  return response.headers.get('content-type')?.includes('json') === true && !isLines(response) ? JSON.parse(text) : text
}

/** Gives the lines of an answer that does not end, as they come. */
export async function* followApi(access: ApiDoor, path: string): AsyncGenerator<string> {
  const response = await send(access, { method: 'GET', path }, undefined)
  if (!response.ok || response.body === null) throw refusal(response.status, await response.text())
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of response.body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

async function send({ url, key }: ApiDoor, request: ApiRequest, signal?: AbortSignal): Promise<Response> {
  const { method, path, body } = request
  try {
    return await fetch(new URL(`/api/v1${path}`, url), {
      method,
      ...(signal === undefined ? {} : { signal }),
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  } catch (cause) {
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause)
    const text = `no answer from ${url} (${inner}): start a node with \`midge start\`, or give its address with --api or MIDGE_API_URL`
    throw new ApiFailure(text, { cause })
  }
}

function isLines(response: Response): boolean {
  return response.headers.get('content-type')?.includes('ndjson') === true
}

function refusal(status: number, text: string): ApiFailure {
  return new ApiFailure(describeProblem(status, text), { status })
}

/** A problem document as one line. */
function describeProblem(status: number, text: string): string {
  let problem: Record<string, unknown> = {}
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null) problem = parsed as Record<string, unknown>
  } catch {
    // Not ours, or cut short: the status has to do.
  }
  if (status === 401) return 'the API key is not known or has run out: see MIDGE_API_KEY and --api-key-file'
  const what = problem['detail'] ?? problem['title'] ?? `the answer was ${status}`
  const errors = Array.isArray(problem['errors']) ? problem['errors'].map(describeField).join('; ') : ''
  return `${String(what)}${errors === '' ? '' : ` (${errors})`}`
}

function describeField(entry: unknown): string {
  if (typeof entry !== 'object' || entry === null) return String(entry)
  return Object.values(entry).map(String).join(': ')
}
