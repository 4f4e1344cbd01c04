import { ExitCode, reportFailure } from '../exit-codes.ts'
import { type ApiDoor, callApi, findAccess, followApi } from './api-client.ts'
import { confirm, readPassword, type SecretOptions } from './secret-input.ts'
import { fieldsText, tableText } from './table-text.ts'
import { type Verb, type Words, withQuery } from './verbs.ts'

/** Options that every verb has. */
export interface ControlOptions extends SecretOptions {
  api?: string
  apiKeyFile?: string
  instance: string
  json?: boolean
  yes?: boolean
}

const PAGE_SIZE = 1000
const WIDTH_WITHOUT_TERMINAL = 10_000

/** Does what was typed and prints the answer; never throws. */
export async function runVerb(verb: Verb, args: Record<string, string>, options: ControlOptions): Promise<ExitCode> {
  try {
    const access = findAccess(options)
    const words: Words = { args, options: { ...options }, instance: options.instance, password: undefined }
    if (verb.asksPassword === true) words.password = await readPassword(options)
    if (verb.confirm !== undefined && options.yes !== true && !(await confirm(verb.confirm(words))))
      return ExitCode.failure
    const request = verb.request(words)
    const isList = verb.columns !== undefined && request.method === 'GET'
    const answer = isList ? await allPages(access, request.path) : await callApi(access, request)
    print(verb, verb.columns === undefined || isList ? answer : itemsOf(answer), options.json === true)
    return ExitCode.ok
  } catch (error) {
    return reportFailure(error)
  }
}

/** What happens to clients of the instance: what is kept, or from now on until the process is ended. */
export async function runLog(options: ControlOptions & { follow?: boolean }): Promise<ExitCode> {
  const path = `/instances/${encodeURIComponent(options.instance)}/log`
  try {
    const access = findAccess(options)
    for (const entry of await allPages(access, path)) printLogEntry(entry, options.json === true)
    if (options.follow !== true) return ExitCode.ok
    for await (const line of followApi(access, `${path}/live`)) {
      if (line.startsWith('data:')) printLogEntry(JSON.parse(line.slice(5)), options.json === true)
    }
    return ExitCode.ok
  } catch (error) {
    return reportFailure(error)
  }
}

async function allPages(access: ApiDoor, path: string): Promise<unknown[]> {
  const items: unknown[] = []
  let cursor: string | undefined
  do {
    // Lists without pages know no such query.
    const query = cursor === undefined ? {} : { cursor, limit: PAGE_SIZE }
    const answer = await callApi(access, { method: 'GET', path: withQuery(path, query) })
    items.push(...itemsOf(answer))
    cursor = isObject(answer) && typeof answer['cursor'] === 'string' ? answer['cursor'] : undefined
  } while (cursor !== undefined)
  return items
}

function itemsOf(answer: unknown): unknown[] {
  return isObject(answer) && Array.isArray(answer['items']) ? answer['items'] : []
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function print(verb: Verb, answer: unknown, asJson: boolean): void {
  if (asJson) {
    if (answer !== undefined) process.stdout.write(`${JSON.stringify(answer, undefined, 2)}\n`)
  } else if (answer === undefined) process.stdout.write('done\n')
  else if (verb.columns !== undefined && Array.isArray(answer)) {
    const width = process.stdout.isTTY ? process.stdout.columns : WIDTH_WITHOUT_TERMINAL
    process.stdout.write(answer.length === 0 ? 'none\n' : `${tableText(answer, verb.columns, width)}\n`)
  } else process.stdout.write(`${fieldsText(answer)}\n`)
}

function printLogEntry(entry: unknown, asJson: boolean): void {
  if (asJson) process.stdout.write(`${JSON.stringify(entry)}\n`)
  else {
    const columns = ['atMs', 'event', 'clientId', 'username', 'text'].map(field => ({ title: '', field }))
    const [, line] = tableText([entry], columns, WIDTH_WITHOUT_TERMINAL).split('\n')
    process.stdout.write(`${line}\n`)
  }
}
