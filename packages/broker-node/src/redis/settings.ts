import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { BrokerError } from '@midge/protocol-core'

/** How Redis is reached; `config/schema.ts` says what each key means. */
export interface RedisSettings {
  /** `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS. */
  url: string
  /** Further `host:port`, of Sentinels or of nodes of a Redis Cluster. */
  addresses?: readonly string[] | undefined
  username?: string | undefined
  password?: string | undefined
  cluster?: boolean | undefined
  /** With a master's name, the addresses are those of Sentinels. */
  sentinel?:
    | { masterName?: string | undefined; username?: string | undefined; password?: string | undefined }
    | undefined
  tls?:
    | {
        caFile?: string | undefined
        certFile?: string | undefined
        keyFile?: string | undefined
        servername?: string | undefined
      }
    | undefined
}

export interface Address {
  host: string
  port: number
}

/** What {@link RedisSettings} come to. */
export interface RedisTarget {
  kind: 'standalone' | 'sentinel' | 'cluster'
  addresses: [Address, ...Address[]]
  masterName: string
  username: string | undefined
  password: string | undefined
  sentinelUsername: string | undefined
  sentinelPassword: string | undefined
  db: number
  tls: ConnectionOptions | undefined
}

/**
 * Reads settings, certificates included.
 *
 * @throws {@link BrokerError} `MIDGE_CONFIG_INVALID`
 */
export function readSettings(settings: RedisSettings): RedisTarget {
  const url = parseUrl(settings.url)
  const { masterName } = settings.sentinel ?? {}
  const kind = masterName !== undefined ? 'sentinel' : settings.cluster === true ? 'cluster' : 'standalone'
  const defaultPort = kind === 'sentinel' ? 26_379 : 6_379
  const first = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) || defaultPort }
  const others = (settings.addresses ?? []).map(text => parseAddress(text, defaultPort))
  return {
    kind,
    addresses: [first, ...others],
    masterName: masterName ?? '',
    username: settings.username ?? (decodeURIComponent(url.username) || undefined),
    password: settings.password ?? (decodeURIComponent(url.password) || undefined),
    sentinelUsername: settings.sentinel?.username,
    sentinelPassword: settings.sentinel?.password,
    db: Number(url.pathname.slice(1)) || 0,
    tls: url.protocol === 'rediss:' ? readTls(settings) : undefined,
  }
}

function parseUrl(text: string): URL {
  try {
    return new URL(text)
  } catch (cause) {
    // Not the text itself: it may hold a password.
    throw new BrokerError('MIDGE_CONFIG_INVALID', '`redis.url` is not redis://[user:password@]host[:port][/db]', {
      cause,
    })
  }
}

function parseAddress(text: string, defaultPort: number): Address {
  const [, host = '', port] = /^\[?([^\]]+?)\]?(?::(\d+))?$/.exec(text) ?? []
  return { host, port: port === undefined ? defaultPort : Number(port) }
}

function readTls({ tls = {} }: RedisSettings): ConnectionOptions {
  const options: ConnectionOptions = {}
  if (tls.caFile !== undefined) options.ca = readFileSync(tls.caFile)
  if (tls.certFile !== undefined) options.cert = readFileSync(tls.certFile)
  if (tls.keyFile !== undefined) options.key = readFileSync(tls.keyFile)
  if (tls.servername !== undefined) options.servername = tls.servername
  return options
}
