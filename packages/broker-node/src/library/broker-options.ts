import { BrokerError } from '@midge/protocol-core'
import type { Config } from '../config/schema.ts'
import { type AedesHookSet, HOOK_NAMES } from '../engine/aedes/hook-set.ts'
import type { Logger } from '../ports.ts'

/**
 * How to make a broker in a program of one's own. Exactly one of `redisUrl`, `dataDir` and `memory` says where its
 * state lives; hooks have Aedes' names and signatures and may also be set on the broker later.
 */
export interface BrokerOptions extends Partial<AedesHookSet> {
  /** Redis that this broker shares with the other nodes of its cluster: `redis://…` or `rediss://…`. */
  redisUrl?: string
  /** Folder of the embedded store, for a broker that is alone. */
  dataDir?: string
  /** Nothing outlives the process. */
  memory?: boolean
  /** Start of every key in Redis; default `midge`. Nodes with the same one are one cluster. */
  keyPrefix?: string
  /** What an acknowledgement promises; default `everysec`, see docs/configuration.md. */
  durability?: Config['durability']
  /** Bounds, with the names and defaults under `limits` in docs/configuration.md. */
  limits?: Partial<Config['limits']>
  /** Where the log goes, for example a pino; by default warnings and errors go to standard output as JSON. */
  logger?: Logger
  /** Name of this node, unique in its cluster: letters, digits, `.`, `_`, `-`. Random by default. */
  id?: string
  /** As `limits.connectTimeoutMs`; Aedes' name. */
  connectTimeout?: number
  /** As `limits.drainTimeoutMs`; Aedes' name. */
  drainTimeout?: number
  /** As `limits.inflightInboundMax`; Aedes' name. */
  maxInflightInbound?: number
  /** As `limits.topicLevelsMax`; Aedes' name. */
  maxTopicLevels?: number
}

const KNOWN: ReadonlySet<string> = new Set<keyof BrokerOptions>([
  ...HOOK_NAMES,
  'redisUrl',
  'dataDir',
  'memory',
  'keyPrefix',
  'durability',
  'limits',
  'logger',
  'id',
  'connectTimeout',
  'drainTimeout',
  'maxInflightInbound',
  'maxTopicLevels',
])

const TAKE_PROXY_OFF =
  'let `midge start` take the PROXY protocol off (listeners.tcp.proxyProtocol), or do it before handle()'

/** Options of Aedes that mean nothing here, with what to do instead. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ['mq', 'nodes reach each other through Redis: give redisUrl to each; broker.mq is there'],
  ['persistence', 'the store is chosen by redisUrl, dataDir or memory'],
  [
    'concurrency',
    'leave it out: a slow client holds up no other; limits.outputBufferBytesMax bounds what waits for it',
  ],
  ['heartbeatInterval', 'leave it out: nodes know of each other through Redis'],
  ['keepaliveLimit', 'use limits.keepAliveSecondsMax, which shortens the keep-alive of MQTT 5 clients'],
  ['queueLimit', 'leave it out: of a client without CONNACK nothing is read but CONNECT'],
  ['maxClientsIdLength', 'leave it out: client ids of MQTT 3.1 have at most 23 characters, as that version says'],
  ['decodeProtocol', TAKE_PROXY_OFF],
  ['trustProxy', TAKE_PROXY_OFF],
  ['trustedProxies', TAKE_PROXY_OFF],
])

/**
 * The values that options set in the configuration, as a tree of keys.
 *
 * @throws BrokerError `MIDGE_LIBRARY_UNSUPPORTED` for what only Aedes knows; `MIDGE_CONFIG_INVALID` for a name that
 * nobody knows, and when the place of the state is not said, or said twice
 */
export function configValuesOf(options: BrokerOptions): Record<string, unknown> {
  checkNames(options)
  const limits: Record<string, unknown> = {}
  if (options.connectTimeout !== undefined) limits['connectTimeoutMs'] = options.connectTimeout
  if (options.drainTimeout !== undefined) limits['drainTimeoutMs'] = options.drainTimeout
  if (options.maxInflightInbound !== undefined) limits['inflightInboundMax'] = options.maxInflightInbound
  if (options.maxTopicLevels !== undefined) limits['topicLevelsMax'] = options.maxTopicLevels
  const redis: Record<string, unknown> = {}
  if (options.redisUrl !== undefined) redis['url'] = options.redisUrl
  if (options.keyPrefix !== undefined) redis['keyPrefix'] = options.keyPrefix
  const values: Record<string, unknown> = { redis, limits: { ...limits, ...options.limits } }
  if (options.id !== undefined) values['nodeId'] = options.id
  if (options.durability !== undefined) values['durability'] = options.durability
  values['dataDir'] = options.dataDir ?? 'memory'
  return values
}

function checkNames(options: BrokerOptions): void {
  for (const name of Object.keys(options)) {
    const instead = REFUSED.get(name)
    if (instead !== undefined) throw new BrokerError('MIDGE_LIBRARY_UNSUPPORTED', `option ${name}: ${instead}`)
    if (!KNOWN.has(name)) throw new BrokerError('MIDGE_CONFIG_INVALID', `createBroker() knows no option ${name}`)
  }
  const places = [options.redisUrl !== undefined, options.dataDir !== undefined, options.memory === true]
  if (places.filter(Boolean).length !== 1) {
    throw new BrokerError('MIDGE_CONFIG_INVALID', 'createBroker() wants one of redisUrl, dataDir and memory: true')
  }
}
