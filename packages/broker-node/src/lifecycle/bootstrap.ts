import { randomBytes, randomInt } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BrokerError } from '@midge/protocol-core'

/** What opens the first door: user and password of the instance `default`, and a key of the HTTP API. */
export interface Bootstrap {
  username: string
  password: string
  /** Nobody configured the password: this node, or an earlier start of it, made it up. */
  isPasswordGenerated: boolean
  /** `undefined` when nobody configured one and a new one could not be kept. */
  apiKey: string | undefined
  isApiKeyGenerated: boolean
}

/** What is configured of it. */
export interface BootstrapSettings {
  user: string
  password?: string | undefined
  apiKey?: string | undefined
}

/** Name of the file in the data folder that keeps what was generated. */
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

/** What the file holds; of an older version, or next to a configured password, only one of the two. */
interface Kept {
  password?: string
  apiKey?: string
}

/**
 * What a node keeps in its data folder, for commands that run beside it.
 *
 * @returns `undefined` when there is no file
 * @throws BrokerError `MIDGE_CONFIG_INVALID` for a file that is damaged or not readable
 */
export function readBootstrap(dataDir: string): { password?: string; apiKey?: string } | undefined {
  return readKept(join(dataDir, BOOTSTRAP_FILE))
}

/** @returns `undefined` when there is no file */
function readKept(path: string): Kept | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return undefined
    throw new BrokerError('MIDGE_CONFIG_INVALID', `cannot read ${path} (${errorCode(cause)})`, { cause })
  }
  try {
    const { password, apiKey } = JSON.parse(text) as Record<string, unknown>
    if (isTextOrAbsent(password) && isTextOrAbsent(apiKey)) {
      return { ...(password === undefined ? {} : { password }), ...(apiKey === undefined ? {} : { apiKey }) }
    }
  } catch {
    // Falls through to the one message for every kind of damage.
  }
  throw new BrokerError('MIDGE_CONFIG_INVALID', `${path} is damaged: delete it, or set MIDGE_BOOTSTRAP_PASSWORD`)
}

function isTextOrAbsent(value: unknown): value is string | undefined {
  return value === undefined || (typeof value === 'string' && value !== '')
}

/** @returns what is in the file now: of two nodes that start at once on one folder, both end with the same */
function keep(path: string, kept: Kept & { username: string }): Kept {
  mkdirSync(dirname(path), { recursive: true })
  const text = `${JSON.stringify(kept)}\n`
  try {
    writeFileSync(path, text, { mode: 0o600, flag: 'wx' })
    return kept
  } catch (cause) {
    if (errorCode(cause) !== 'EEXIST') throw cause
  }
  const there = readKept(path)
  const all = { ...kept, ...there }
  if (all.password !== there?.password || all.apiKey !== there?.apiKey) {
    writeFileSync(path, `${JSON.stringify(all)}\n`, { mode: 0o600 })
  }
  return all
}

/**
 * The first user and the first key. What is not configured is what the data folder keeps, else it is made up and kept
 * there, readable by the owner only.
 *
 * @param dataDir - `undefined` when nothing is kept on disk: then every start makes up something new
 * @throws BrokerError `MIDGE_CONFIG_INVALID` when a generated password cannot be kept; a key is then left out
 */
export function ensureBootstrap(dataDir: string | undefined, settings: BootstrapSettings): Bootstrap {
  const { user: username } = settings
  const isPasswordGenerated = settings.password === undefined
  const isApiKeyGenerated = settings.apiKey === undefined
  let { password, apiKey } = settings
  if (isPasswordGenerated || isApiKeyGenerated) {
    const made: Kept = {
      ...(isPasswordGenerated ? { password: generatePassword() } : {}),
      ...(isApiKeyGenerated ? { apiKey: `midge_operator_${randomBytes(24).toString('base64url')}` } : {}),
    }
    const kept = dataDir === undefined ? made : keptOrMade(join(dataDir, BOOTSTRAP_FILE), username, made)
    password ??= kept.password
    apiKey ??= kept.apiKey
  }
  return { username, password: password ?? '', isPasswordGenerated, apiKey, isApiKeyGenerated }
}

function keptOrMade(path: string, username: string, made: Kept): Kept {
  let kept: Kept = {}
  try {
    kept = readKept(path) ?? {}
    const all = { ...made, ...kept }
    const isWhole = all.password === kept.password && all.apiKey === kept.apiKey
    return isWhole ? kept : keep(path, { username, ...all })
  } catch (cause) {
    // A key is no reason not to start: a node whose password is known may have nowhere to write.
    if (made.password === undefined || kept.password !== undefined) return kept
    if (cause instanceof BrokerError) throw cause
    const text = `cannot keep the generated password in ${path} (${errorCode(cause)}): set MIDGE_BOOTSTRAP_PASSWORD or another MIDGE_DATA_DIR`
    throw new BrokerError('MIDGE_CONFIG_INVALID', text, { cause })
  }
}
