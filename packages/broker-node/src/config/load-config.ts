import { accessSync, constants, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { BrokerError } from '@midge/protocol-core'
import { parse as parseYaml, YAMLParseError } from 'yaml'
import { CONFIG_KEYS, type ConfigKey, findEnv, findKey, nearest } from './config-keys.ts'
import { type Config, checkConfig, MEMORY_DATA_DIR } from './schema.ts'

/** Where the values come from, besides the defaults. */
export interface ConfigSources {
  /** Path of a YAML file (`--config`). */
  file?: string | undefined
  /** A tree of values as a file would hold it, given by a program; it wins over the file. */
  values?: Readonly<Record<string, unknown>> | undefined
  /** `key=value` strings (`--set`), later ones win. */
  set?: readonly string[] | undefined
  /** Stands in for the environment of the process. */
  env?: Readonly<Record<string, string | undefined>> | undefined
}

/** The configuration and, for every key, where its value came from. */
export interface LoadedConfig {
  /** Deeply frozen. */
  config: Config
  /** Key → `default`, the file's path, the environment variable, or `--set`. */
  origins: ReadonlyMap<string, string>
}

interface Given {
  value: unknown
  origin: string
}

/** Name of an environment variable that stands in for `--config`. */
export const CONFIG_FILE_ENV = 'MIDGE_CONFIG_FILE'
/** Where the commands of the API find it; they mean nothing to a node. */
const API_URL_ENV = 'MIDGE_API_URL'
const API_KEY_ENV = 'MIDGE_API_KEY'
const NO_SETTINGS: readonly string[] = [CONFIG_FILE_ENV, API_URL_ENV, API_KEY_ENV]

function invalid(text: string): BrokerError {
  return new BrokerError('MIDGE_CONFIG_INVALID', text)
}

function unknownKey(name: string, origin: string): BrokerError {
  const known = nearest(
    name,
    CONFIG_KEYS.map(entry => entry.key),
  )
  return invalid(`unknown key \`${name}\` in ${origin}; the nearest known key is \`${known}\``)
}

/** Reads a text value as its key wants it; what cannot be read is left for the schema to refuse. */
function readText(entry: ConfigKey, text: string): unknown {
  switch (entry.kind) {
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text
    case 'boolean': {
      const word = text.trim().toLowerCase()
      if (['true', '1', 'yes', 'on'].includes(word)) return true
      return ['false', '0', 'no', 'off'].includes(word) ? false : text
    }
    case 'list':
      return text
        .split(',')
        .map(part => part.trim())
        .filter(part => part !== '')
    case 'objects':
      try {
        return JSON.parse(text)
      } catch {
        // Not a list, as the schema then says.
        return text
      }
    case 'string':
      return text
  }
}

function readWholeFile(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'error'
    throw new BrokerError('MIDGE_CONFIG_INVALID', `cannot read ${path} (${code}), named by ${what}`, { cause })
  }
}

function isGroup(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function takeTree(
  tree: Readonly<Record<string, unknown>>,
  prefix: string,
  origin: string,
  given: Map<string, Given>,
): void {
  for (const [name, value] of Object.entries(tree)) {
    const key = prefix === '' ? name : `${prefix}.${name}`
    const isKnownGroup = key === 'compatibility' || CONFIG_KEYS.some(entry => entry.key.startsWith(`${key}.`))
    if (isKnownGroup && isGroup(value)) takeTree(value, key, origin, given)
    else if (isKnownGroup && value === null) continue
    else if (isKnownGroup) throw invalid(`\`${key}\` in ${origin} is a group of keys, not a value`)
    else if (findKey(key) === undefined) throw unknownKey(key, origin)
    else if (value !== null) given.set(key, { value, origin })
  }
}

function takeFile(path: string, namedBy: string, given: Map<string, Given>): void {
  const text = readWholeFile(path, namedBy)
  let tree: unknown
  try {
    tree = parseYaml(text)
  } catch (cause) {
    const line = cause instanceof YAMLParseError ? (cause.message.split('\n')[0] ?? '') : 'not YAML'
    throw new BrokerError('MIDGE_CONFIG_INVALID', `${path}: ${line}`, { cause })
  }
  if (tree === null || tree === undefined) return
  if (!isGroup(tree)) throw invalid(`${path} has to hold keys and values`)
  takeTree(tree, '', path, given)
}

/**
 * True for variables that Kubernetes injects for a Service whose name starts with `midge`: they look like ours and
 * nobody wrote them.
 */
function isServiceLink(name: string, value: string): boolean {
  if (/^(tcp|udp|sctp):\/\/\S+:\d+$/.test(value)) return true
  return /_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$/.test(name) || /_PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)$/.test(name)
}

function takeEnvironment(env: Readonly<Record<string, string | undefined>>, given: Map<string, Given>): void {
  const names = CONFIG_KEYS.flatMap(entry =>
    entry.meta.secret === true ? [entry.env, `${entry.env}_FILE`] : entry.env,
  )
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('MIDGE_') || NO_SETTINGS.includes(name)) continue
    // An empty variable is how compose files and shells spell "not set".
    if (value === undefined || value === '' || isServiceLink(name, value)) continue
    const entry = findEnv(name)
    if (entry !== undefined) {
      given.set(entry.key, { value: readText(entry, value), origin: name })
      continue
    }
    const secret = name.endsWith('_FILE') ? findEnv(name.slice(0, -'_FILE'.length)) : undefined
    if (secret?.meta.secret !== true) {
      throw invalid(`unknown environment variable \`${name}\`; the nearest known one is \`${nearest(name, names)}\``)
    }
    if ((env[secret.env] ?? '') !== '') throw invalid(`set \`${secret.env}\` or \`${name}\`, not both`)
    given.set(secret.key, { value: readWholeFile(value, name).replace(/\r?\n$/, ''), origin: name })
  }
}

function takeSettings(settings: readonly string[], given: Map<string, Given>): void {
  for (const setting of settings) {
    const equals = setting.indexOf('=')
    if (equals < 1) throw invalid(`--set wants key=value, not \`${setting}\``)
    const key = setting.slice(0, equals)
    const entry = findKey(key)
    if (entry === undefined) throw unknownKey(key, '--set')
    given.set(key, { value: readText(entry, setting.slice(equals + 1)), origin: '--set' })
  }
}

function plant(tree: Record<string, unknown>, key: string, value: unknown): void {
  const parts = key.split('.')
  const name = parts.pop() ?? ''
  let group = tree
  for (const part of parts) {
    group[part] ??= {}
    group = group[part] as Record<string, unknown>
  }
  group[name] = value
}

function assemble(given: ReadonlyMap<string, Given>): Record<string, unknown> {
  const tree: Record<string, unknown> = { compatibility: {} }
  for (const { key } of CONFIG_KEYS) plant(tree, key, given.get(key)?.value)
  return tree
}

/** Defaults that depend on another key. */
function derive(given: Map<string, Given>): void {
  const defaultsTo = (key: string, value: unknown): void => {
    if (!given.has(key)) given.set(key, { value, origin: 'default' })
  }
  if (given.has('listeners.tls.certFile')) defaultsTo('listeners.tls.port', 8883)
  if (given.has('listeners.wss.certFile')) defaultsTo('listeners.wss.port', 8443)
  else if (given.has('listeners.tls.certFile')) {
    defaultsTo('listeners.wss.certFile', given.get('listeners.tls.certFile')?.value)
    defaultsTo('listeners.wss.keyFile', given.get('listeners.tls.keyFile')?.value)
    defaultsTo('listeners.wss.certificates', given.get('listeners.tls.certificates')?.value)
  }
}

function checkTls(config: Config): void {
  for (const name of ['tls', 'wss'] as const) {
    const listener = config.listeners[name]
    if (listener.port === 0) continue
    for (const file of ['certFile', 'keyFile'] as const) {
      if (listener[file] !== undefined) continue
      throw invalid(`\`listeners.${name}.port\` is ${listener.port}, so \`listeners.${name}.${file}\` has to be set`)
    }
    if (listener.requireClientCert && listener.caFile === undefined) {
      throw invalid(`\`listeners.${name}.requireClientCert\` needs \`listeners.${name}.caFile\``)
    }
    if (listener.certCnAsUsername && listener.caFile === undefined) {
      throw invalid(`\`listeners.${name}.certCnAsUsername\` needs \`listeners.${name}.caFile\``)
    }
  }
}

function checkMore({ more, tls, wss }: Config['listeners']): void {
  for (const [index, listener] of more.entries()) {
    const name = `listeners.more[${index}]`
    if ((listener.certFile === undefined) !== (listener.keyFile === undefined)) {
      throw invalid(`\`${name}.certFile\` and \`${name}.keyFile\` go together`)
    }
    if (listener.kind !== 'tls' && listener.kind !== 'wss') continue
    const like = listener.kind === 'tls' || wss.certFile === undefined ? tls : wss
    if ((listener.certFile ?? like.certFile) === undefined) throw invalid(`\`${name}\` needs a \`certFile\``)
    const needsAuthority = (listener.requireClientCert ?? false) || (listener.certCnAsUsername ?? false)
    if (needsAuthority && (listener.caFile ?? like.caFile) === undefined)
      throw invalid(`\`${name}\` needs a \`caFile\``)
  }
}

function checkRedis({ url, addresses, cluster, sentinel, tls }: Config['redis']): void {
  if (cluster && sentinel.masterName !== undefined) {
    throw invalid('set `redis.cluster` or `redis.sentinel.masterName`, not both')
  }
  if (addresses.length > 0 && !cluster && sentinel.masterName === undefined) {
    throw invalid('`redis.addresses` needs `redis.cluster` or `redis.sentinel.masterName`')
  }
  if ((tls.certFile === undefined) !== (tls.keyFile === undefined)) {
    throw invalid('`redis.tls.certFile` and `redis.tls.keyFile` go together')
  }
  const isPlain = url !== undefined && !url.startsWith('rediss:')
  const unused = Object.entries(tls).find(([, value]) => value !== undefined)
  if (isPlain && unused !== undefined) throw invalid(`\`redis.tls.${unused[0]}\` needs a \`redis.url\` with rediss://`)
}

function checkRelations(config: Config): void {
  checkTls(config)
  checkMore(config.listeners)
  checkRedis(config.redis)
  const { limits, listeners, http } = config
  if (limits.onlineQueueMessages < limits.receiveMax) {
    throw invalid('`limits.onlineQueueMessages` has to be at least `limits.receiveMax`')
  }
  if (limits.outputBufferBytesMax < limits.maxPacketBytes) {
    throw invalid('`limits.outputBufferBytesMax` has to be at least `limits.maxPacketBytes`')
  }
  if (config.instances.portBaseMax < config.instances.portBaseMin) {
    throw invalid('`instances.portBaseMax` has to be at least `instances.portBaseMin`')
  }
  const users = new Map<number, string>()
  const { more, ...first } = listeners
  const ports = [
    ...Object.entries(first).map(([name, { port }]) => [`listeners.${name}.port`, port] as const),
    ['http.port', http.port] as const,
    ...more.map(({ port }, index) => [`listeners.more[${index}].port`, port] as const),
  ]
  for (const [key, port] of ports) {
    const other = users.get(port)
    if (port !== 0 && other !== undefined) throw invalid(`\`${other}\` and \`${key}\` are both ${port}`)
    users.set(port, key)
  }
}

function checkFiles(config: Config, given: ReadonlyMap<string, Given>): void {
  for (const { key, meta } of CONFIG_KEYS) {
    const path = given.get(key)?.value
    if (meta.file !== true || typeof path !== 'string') continue
    if (key.startsWith('listeners.wss.') && config.listeners.wss.port === 0) continue
    try {
      accessSync(path, constants.R_OK)
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? 'error'
      throw new BrokerError('MIDGE_CONFIG_INVALID', `\`${key}\` names ${path}, which cannot be read (${code})`, {
        cause,
      })
    }
  }
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    Object.values(value).forEach(freeze)
  }
  return value
}

/** What the environment says to commands that ask a node elsewhere. */
export function readApiEnvironment(): { url: string | undefined; key: string | undefined } {
  const given = (name: string): string | undefined => (process.env[name] === '' ? undefined : process.env[name])
  return { url: given(API_URL_ENV), key: given(API_KEY_ENV) }
}

/**
 * Reads the configuration: defaults, then the file, then the environment, then `--set`; the later wins.
 *
 * @throws BrokerError `MIDGE_CONFIG_INVALID`; its text names the key, where it came from, and what is wanted
 */
export function loadConfig(options: ConfigSources = {}): LoadedConfig {
  const env = options.env ?? process.env
  const given = new Map<string, Given>()
  const fileOfEnv = env[CONFIG_FILE_ENV] === '' ? undefined : env[CONFIG_FILE_ENV]
  const file = options.file ?? fileOfEnv
  if (file !== undefined) takeFile(file, options.file === undefined ? CONFIG_FILE_ENV : '--config', given)
  if (options.values !== undefined) takeTree(options.values, '', 'the options', given)
  takeEnvironment(env, given)
  takeSettings(options.set ?? [], given)
  derive(given)

  const checked = checkConfig(assemble(given))
  if (!checked.ok) {
    const [first] = checked.issues
    const path = first?.path.replace(/\.\d+$/, '') ?? ''
    const origin = given.get(path)?.origin ?? 'the configuration'
    throw invalid(`\`${path}\` from ${origin}: ${first?.text ?? 'not valid'}`)
  }
  const config: Config = { ...checked.config }
  config.dataDir = /^(memory|:memory:)$/.test(config.dataDir) ? MEMORY_DATA_DIR : resolve(config.dataDir)
  checkRelations(config)
  checkFiles(config, given)
  const origins = new Map(CONFIG_KEYS.map(({ key }) => [key, given.get(key)?.origin ?? 'default']))
  return { config: freeze(config), origins }
}
