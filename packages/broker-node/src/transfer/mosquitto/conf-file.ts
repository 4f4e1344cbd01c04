import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { linesOf, pathBelow, readSource } from '../source-file.ts'

/** One line of `mosquitto.conf`. */
export interface ConfLine {
  readonly at: string
  readonly key: string
  readonly value: string
}

/** What one listener is held to. With `per_listener_settings` each has its own, else all have that of the whole file. */
export interface ConfSection {
  /** The `listener` line; `undefined` for what stands before all of them. */
  readonly listener: ConfLine | undefined
  readonly lines: ConfLine[]
}

/** `mosquitto.conf` in sections. */
export interface Conf {
  readonly isPerListener: boolean
  readonly sections: readonly ConfSection[]
  readonly bridges: readonly ConfSection[]
}

/** Includes within includes that are followed. */
const INCLUDE_DEPTH_MAX = 8

/**
 * Reads `mosquitto.conf` and what it includes.
 *
 * @throws BrokerError `MIDGE_CONFIG_INVALID` for a file or folder that cannot be read
 */
export function readConf(path: string, root: string | undefined): Conf {
  const sections: ConfSection[] = [{ listener: undefined, lines: [] }]
  const bridges: ConfSection[] = []
  let isPerListener = false
  let section = sections[0]
  for (const line of confLines(path, root, 0)) {
    if (line.key === 'per_listener_settings') {
      isPerListener = line.value === 'true'
    } else if (line.key === 'listener') {
      section = { listener: line, lines: [] }
      sections.push(section)
    } else if (line.key === 'connection') {
      section = { listener: line, lines: [] }
      bridges.push(section)
    } else {
      section?.lines.push(line)
    }
  }
  return { isPerListener, sections, bridges }
}

function confLines(path: string, root: string | undefined, depth: number): ConfLine[] {
  return linesOf(path, readSource(path)).flatMap(({ at, text }) => {
    const [, key = '', value = ''] = /^\s*(\S+)\s*(.*)$/.exec(text) ?? []
    if (key !== 'include_dir' || depth >= INCLUDE_DEPTH_MAX) return [{ at, key, value }]
    const folder = pathBelow(root, value)
    return includedFiles(folder).flatMap(name => confLines(join(folder, name), root, depth + 1))
  })
}

function includedFiles(folder: string): string[] {
  try {
    // Mosquitto reads them in the order of their bytes.
    return readdirSync(folder)
      .filter(name => name.endsWith('.conf'))
      .sort()
  } catch {
    return [readSource(folder)]
  }
}
