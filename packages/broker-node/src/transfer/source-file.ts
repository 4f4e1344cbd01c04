import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { BrokerError } from '@midge/protocol-core'

/** One line of a file that has something on it. */
export interface SourceLine {
  /** `file:line`, for a person. */
  readonly at: string
  readonly text: string
}

/** @throws BrokerError `MIDGE_CONFIG_INVALID` for a file that cannot be read */
export function readSource(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new BrokerError('MIDGE_CONFIG_INVALID', `cannot read ${path} (${code})`, { cause })
  }
}

/** The lines of a text that are neither empty nor comments; blanks at the end are taken off, and at the start stay. */
export function linesOf(path: string, text: string): SourceLine[] {
  return text
    .split('\n')
    .map((line, index) => ({ at: `${path}:${index + 1}`, text: line.trimEnd() }))
    .filter(line => line.text !== '' && !line.text.startsWith('#'))
}

/** @param root - a copy of another machine's files, below which absolute paths are looked for */
export function pathBelow(root: string | undefined, path: string): string {
  return root === undefined ? resolve(path) : join(root, path)
}
