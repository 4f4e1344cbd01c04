import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A script as it is sent to Redis. */
export interface Script {
  source: string
  sha: string
  /** Count of KEYS; -1 when it varies. */
  keyCount: number
}

/**
 * The folder `scripts` beside a module. The published package has it there; in a work tree the sources come first,
 * because a build may have left an older copy.
 *
 * @param moduleUrl - `import.meta.url` of a module in the room `room`
 */
export function scriptsFolder(moduleUrl: string, room: string): URL {
  const sources = new URL(`../../src/${room}/scripts/`, moduleUrl)
  return existsSync(sources) ? sources : new URL('./scripts/', moduleUrl)
}

/**
 * Reads scripts. A file is named `<name>-<KEYS>.lua`, `n` for a number that varies; its header lists KEYS, ARGV and
 * what it returns, and `-- @include <part>` stands for `include/<part>.lua`.
 */
export function loadScripts<Name extends string>(folder: URL, names: readonly Name[]): ReadonlyMap<Name, Script> {
  return new Map(names.map(name => [name, readScript(folder, name)]))
}

function readScript(folder: URL, name: string): Script {
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
