import { randomInt } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BrokerError } from '@midge/protocol-core'

/** The first user of the instance `default`. */
export interface BootstrapUser {
  username: string
  password: string
  /** Nobody configured the password: this node, or an earlier start of it, made it up. */
  generated: boolean
}

/** Name of the file in the data folder that keeps a generated password. */
export const BOOTSTRAP_FILE = 'bootstrap.json'

const PASSWORD_LENGTH = 20
/** Without the characters that people misread. */
const ALPHABET = 'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789'

function generatePassword(): string {
  return Array.from({ length: PASSWORD_LENGTH }, () => ALPHABET.charAt(randomInt(ALPHABET.length))).join('')
}

function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

/** @returns the kept password, or `undefined` when there is no file */
function readKept(path: string): string | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return undefined
    throw new BrokerError('MIDGE_CONFIG_INVALID', `cannot read ${path} (${errorCode(cause)})`, { cause })
  }
  try {
    const kept = JSON.parse(text) as { password?: unknown }
    if (typeof kept.password === 'string' && kept.password !== '') return kept.password
  } catch {
    // Falls through to the one message for every kind of damage.
  }
  throw new BrokerError('MIDGE_CONFIG_INVALID', `${path} is damaged: delete it, or set MIDGE_BOOTSTRAP_PASSWORD`)
}

function keep(path: string, dataDir: string, username: string, password: string): string {
  try {
    mkdirSync(dataDir, { recursive: true })
    // Refused when it exists: of two nodes that start at once on one folder, both end with the first one's password.
    writeFileSync(path, `${JSON.stringify({ username, password })}\n`, { mode: 0o600, flag: 'wx' })
    return password
  } catch (cause) {
    const kept = errorCode(cause) === 'EEXIST' ? readKept(path) : undefined
    if (kept !== undefined) return kept
    const text = `cannot keep the generated password in ${path} (${errorCode(cause)}): set MIDGE_BOOTSTRAP_PASSWORD or another MIDGE_DATA_DIR`
    throw new BrokerError('MIDGE_CONFIG_INVALID', text, { cause })
  }
}

/**
 * The first user, whose password is the configured one, else the one kept in the data folder, else a new one that is
 * kept there (readable by the owner only).
 *
 * @param dataDir - `undefined` when nothing is kept on disk: then every start makes up a new password
 * @throws BrokerError `MIDGE_CONFIG_INVALID` when the folder cannot be used
 */
export function ensureBootstrapUser(
  dataDir: string | undefined,
  settings: { user: string; password?: string | undefined },
): BootstrapUser {
  const username = settings.user
  if (settings.password !== undefined) return { username, password: settings.password, generated: false }
  if (dataDir === undefined) return { username, password: generatePassword(), generated: true }
  const path = join(dataDir, BOOTSTRAP_FILE)
  const password = readKept(path) ?? keep(path, dataDir, username, generatePassword())
  return { username, password, generated: true }
}
