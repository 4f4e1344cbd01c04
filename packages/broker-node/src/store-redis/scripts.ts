import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Every script of the store; the number is that of its KEYS, `n` when it varies. */
export const SCRIPT_NAMES = [
  'ack-group-3',
  'ack-queue-3',
  'append-group-4',
  'begin-inbound-2',
  'claim-due-3',
  'close-session-11',
  'confirm-due-2',
  'delete-group-n',
  'enqueue-n',
  'expire-retained-3',
  'expire-session-10',
  'finish-inbound-1',
  'forget-inbound-2',
  'forget-tokens-2',
  'held-group-1',
  'join-group-2',
  'match-retained-2',
  'open-session-12',
  'read-queue-3',
  'release-group-1',
  'release-queue-2',
  'remove-subscriptions-3',
  'return-group-4',
  'save-subscriptions-3',
  'set-retained-3',
  'take-group-4',
] as const
export type ScriptName = (typeof SCRIPT_NAMES)[number]

/** A script as it is sent to Redis. */
export interface Script {
  source: string
  sha: string
  /** Count of KEYS; -1 when it varies. */
  keyCount: number
}

/**
 * The published package has the scripts beside this module. In a work tree the sources come first, because a build may
 * have left an older copy there.
 */
function scriptsFolder(): URL {
  const sources = new URL('../../src/store-redis/scripts/', import.meta.url)
  return existsSync(sources) ? sources : new URL('./scripts/', import.meta.url)
}

function readScript(folder: URL, name: ScriptName): Script {
  const text = readFileSync(fileURLToPath(new URL(`${name}.lua`, folder)), 'utf8')
  const source = text.replace(/^-- @include (\S+)$/gm, (_, part: string) =>
    readFileSync(fileURLToPath(new URL(`include/${part}.lua`, folder)), 'utf8'),
  )
  const suffix = name.slice(name.lastIndexOf('-') + 1)
  return {
    source,
    sha: createHash('sha1').update(source).digest('hex'),
    keyCount: suffix === 'n' ? -1 : Number(suffix),
  }
}

/** Reads all scripts, once per process start. */
export function loadScripts(): ReadonlyMap<ScriptName, Script> {
  const folder = scriptsFolder()
  return new Map(SCRIPT_NAMES.map(name => [name, readScript(folder, name)]))
}
