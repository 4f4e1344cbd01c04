import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BrokerError } from '@midge/protocol-core'
import type { IClientOptions } from 'mqtt'
import { loadConfig } from '../../config/load-config.ts'
import { type Config, MEMORY_DATA_DIR } from '../../config/schema.ts'
import { readBootstrap } from '../../lifecycle/bootstrap.ts'

/** How `midge pub` and `midge sub` find and enter a broker. */
export interface TargetFlags {
  url?: string
  host?: string
  port?: number
  user?: string
  passwordFile?: string
  passwordStdin?: boolean
  tls?: boolean
  ca?: string
  ws?: boolean
  mqtt: 3 | 4 | 5
  clientId?: string
  /** Seconds to wait for the connection. */
  connectTimeout: number
}

/** Where to connect, and as whom. */
export interface BrokerTarget {
  /** With neither user nor password in it, so that it can be printed. */
  url: string
  options: IClientOptions
}

const LOCAL = '127.0.0.1'
const DEFAULT_PORTS = { mqtt: 1883, mqtts: 8883, ws: 8083, wss: 8084 } as const
const ANY_HOSTS = new Set(['0.0.0.0', '::'])
const STDIN_FD = 0

/**
 * Without `--url` and `--host` it is the node on this machine, with its first user: what the same configuration and
 * data folder would start.
 *
 * @throws BrokerError `MIDGE_CONFIG_INVALID` for flags that do not fit together and files that cannot be read
 */
export function findTarget(flags: TargetFlags): BrokerTarget {
  if (flags.url !== undefined && (flags.host !== undefined || flags.port !== undefined || flags.ws || flags.tls)) {
    throw invalid('--url says host, port and transport already: leave out --host, --port, --ws and --tls')
  }
  const isLocal = flags.url === undefined && flags.host === undefined
  const config = isLocal ? loadConfig().config : undefined
  const url = flags.url === undefined ? urlOf(flags, config) : parseUrl(flags.url)
  const login = loginOf(flags, url, config)
  url.username = ''
  url.password = ''
  return {
    url: url.href,
    options: {
      ...login,
      protocolVersion: flags.mqtt,
      ...(flags.mqtt === 3 ? { protocolId: 'MQIsdp' as const } : {}),
      ...(flags.clientId === undefined ? {} : { clientId: flags.clientId }),
      ...(flags.ca === undefined ? {} : { ca: readInput(flags.ca, '--ca') }),
      connectTimeout: flags.connectTimeout * 1000,
      reconnectPeriod: 0,
    },
  }
}

function invalid(text: string, cause?: unknown): BrokerError {
  return new BrokerError('MIDGE_CONFIG_INVALID', text, { cause })
}

function urlOf(flags: TargetFlags, config: Config | undefined): URL {
  const scheme = flags.ws ? (flags.tls ? 'wss' : 'ws') : flags.tls ? 'mqtts' : 'mqtt'
  const listener = config?.listeners[({ mqtt: 'tcp', mqtts: 'tls', ws: 'ws', wss: 'wss' } as const)[scheme]]
  const bound = listener === undefined || ANY_HOSTS.has(listener.host) ? LOCAL : listener.host
  const host = flags.host ?? bound
  const port = flags.port ?? (listener?.port || DEFAULT_PORTS[scheme])
  const path = flags.ws ? '/mqtt' : ''
  return parseUrl(`${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}${path}`)
}

function parseUrl(text: string): URL {
  let url: URL
  try {
    url = new URL(text)
  } catch (cause) {
    throw invalid('the address of the broker has to look like mqtt://host:1883', cause)
  }
  if (!(url.protocol.slice(0, -1) in DEFAULT_PORTS)) {
    throw invalid(`the address of the broker begins with ${Object.keys(DEFAULT_PORTS).join('://, ')}://`)
  }
  return url
}

function loginOf(flags: TargetFlags, url: URL, config: Config | undefined): { username?: string; password?: string } {
  if (flags.passwordFile !== undefined && flags.passwordStdin) {
    throw invalid('take one of --password-file and --password-stdin')
  }
  const username = flags.user ?? (url.username === '' ? undefined : decode(url.username))
  const password = givenPassword(flags, url)
  if (username !== undefined) return { username, ...(password === undefined ? {} : { password }) }
  if (password !== undefined) throw invalid('a password needs its user: --user, or mqtt://user:password@host')
  return config === undefined ? {} : localLogin(config)
}

function givenPassword(flags: TargetFlags, url: URL): string | undefined {
  if (flags.passwordFile !== undefined) return firstLine(readInput(flags.passwordFile, '--password-file'))
  if (flags.passwordStdin) return firstLine(readInput(STDIN_FD, '--password-stdin'))
  return url.password === '' ? undefined : decode(url.password)
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw invalid('user and password in --url are percent-encoded; a `%` itself is %25', cause)
  }
}

function localLogin(config: Config): { username?: string; password?: string } {
  const { user, password } = config.bootstrap
  if (password !== undefined) return { username: user, password }
  const kept = config.dataDir === MEMORY_DATA_DIR ? undefined : readBootstrap(config.dataDir)
  return kept?.password === undefined ? {} : { username: user, password: kept.password }
}

function firstLine(text: Buffer): string {
  return (text.toString('utf8').split('\n', 1)[0] ?? '').replace(/\r$/, '')
}

/** @throws BrokerError `MIDGE_CONFIG_INVALID` naming the flag */
export function readInput(path: string | number, flag: string): Buffer {
  try {
    return readFileSync(typeof path === 'number' ? path : join(path))
  } catch (cause) {
    throw invalid(`${flag}: cannot read it (${(cause as NodeJS.ErrnoException).code})`, cause)
  }
}
