import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { TOPIC_LEVELS_MAX_DEFAULT } from '@midge/protocol-core'
import { z } from 'zod'

/** Value of `dataDir` that keeps everything in memory. */
export const MEMORY_DATA_DIR = 'memory'

/** What a key says about itself beside its type. */
export interface KeyMeta {
  description: string
  /** Never printed; may also come from a file named by `<NAME>_FILE`. */
  secret?: boolean
  /** Path of a file that has to exist. */
  file?: boolean
  /** Text for the documentation where the default is computed. */
  defaultText?: string
}

const MIB = 1024 * 1024
/** Leaves a thread of the pool for files and names. */
const HASHES_RUNNING_MAX = 3
const DAY_SECONDS = 86_400

function key<T extends z.ZodType>(schema: T, description: string, rest: Omit<KeyMeta, 'description'> = {}): T {
  return schema.meta({ description, ...rest })
}

function whole(min: number, max: number, initial: number): z.ZodDefault<z.ZodNumber> {
  return z.number().int().min(min).max(max).default(initial)
}

const text = (max = 1024): z.ZodString => z.string().min(1).max(max)
const absent = <T extends z.ZodType>(schema: T): z.ZodOptional<T> => schema.optional()

const address = (port: number, what: string, portText?: string) => ({
  host: key(text(255).default('0.0.0.0'), `Address that ${what} binds.`),
  port: key(
    whole(0, 65_535, port),
    `Port of ${what}; 0 turns it off.`,
    portText === undefined ? {} : { defaultText: portText },
  ),
  proxyProtocol: key(
    z.boolean().default(false),
    `Every connection to ${what} starts with a PROXY protocol header (version 1 or 2) from the load balancer; without one it is closed.`,
  ),
})

const hostCertificate = z.strictObject({
  hosts: z
    .array(z.string().regex(/^(?:\*\.)?[\w-]+(?:\.[\w-]+)*$/, 'is a host name, or *. and one'))
    .min(1)
    .max(100),
  certFile: text(),
  keyFile: text(),
})

const tlsFiles = (of: string, fallback: string) => ({
  certFile: key(absent(text()), `PEM file with the certificate chain of ${of}.${fallback}`, { file: true }),
  keyFile: key(absent(text()), `PEM file with the private key of ${of}.${fallback}`, { file: true }),
  certificates: key(
    z.array(hostCertificate).max(1_000).default([]),
    `Further certificates of ${of} by the name that a client asks for (SNI): a list of \`hosts\` (names, or \`*.example.org\`), \`certFile\` and \`keyFile\`.${fallback}`,
  ),
  caFile: key(absent(text()), `PEM file with the authorities that sign client certificates for ${of}.`, { file: true }),
  requireClientCert: key(
    z.boolean().default(false),
    `Refuse a connection to ${of} that shows no certificate signed by \`caFile\`.`,
  ),
  certCnAsUsername: key(
    z.boolean().default(false),
    'The Common Name of a verified client certificate is the username; no password is asked.',
  ),
  minVersion: key(z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.2'), `Oldest TLS version that ${of} accepts.`),
})

const moreListener = z.strictObject({
  kind: z.enum(['tcp', 'tls', 'ws', 'wss']),
  port: z.number().int().min(1).max(65_535),
  host: absent(text(255)),
  proxyProtocol: absent(z.boolean()),
  loginRequired: z.boolean().default(false),
  instance: absent(text(64)),
  certFile: absent(text()),
  keyFile: absent(text()),
  caFile: absent(text()),
  requireClientCert: absent(z.boolean()),
  certCnAsUsername: absent(z.boolean()),
})

const path = z
  .string()
  .max(256)
  .regex(/^\/[^?#\s]*$/, 'starts with / and has no query')
const paths = key(z.array(path).min(1).default(['/', '/mqtt']), 'URL paths that accept a WebSocket with MQTT in it.')

const limits = {
  maxPacketBytes: key(whole(64, 268_435_460, 4 * MIB), 'Largest packet a client may send (v5 Maximum Packet Size).'),
  receiveMax: key(
    whole(1, 65_535, 100),
    'QoS 1 and 2 messages that may be unacknowledged at one time, in either direction (v5 Receive Maximum); beyond it reading pauses.',
  ),
  inflightInboundMax: key(
    whole(1, 65_535, 1000),
    'Unacknowledged QoS 1 and 2 messages taken from a client of MQTT 3.1 or 3.1.1, which knows no Receive Maximum; beyond it reading pauses.',
  ),
  offlineQueueMessages: key(
    whole(0, 10_000_000, 1000),
    'Messages kept for a session while its client is away; the newest is dropped and counted beyond it.',
  ),
  offlineQueueBytes: key(
    whole(0, 64 * 1024 * MIB, 8 * MIB),
    'Bytes kept for a session while its client is away; the newest is dropped and counted beyond it.',
  ),
  onlineQueueMessages: key(
    whole(1, 100_000_000, 100_000),
    'Messages waiting for a connected client that acknowledges slowly; the newest is dropped and counted beyond it.',
  ),
  onlineQueueBytes: key(
    whole(1024, 64 * 1024 * MIB, 64 * MIB),
    'Bytes waiting for a connected client that acknowledges slowly; the newest is dropped and counted beyond it.',
  ),
  sessionExpirySecondsMax: key(
    whole(0, 4_294_967_295, 7 * DAY_SECONDS),
    'Longest time a session outlives its connection; a longer wish is shortened and the client told. 4294967295 means for ever.',
  ),
  keepAliveSecondsMax: key(
    whole(0, 65_535, 0),
    'Longest keep-alive; an MQTT 5 client with a longer one, or none, is given this one (v5 Server Keep Alive). 0 means no bound.',
  ),
  topicLevelsMax: key(whole(1, 1024, TOPIC_LEVELS_MAX_DEFAULT), 'Levels in a topic name or filter.'),
  topicAliasMax: key(
    whole(0, 65_535, 16),
    'Topic aliases a client may use when publishing (v5 Topic Alias Maximum); 0 turns them off.',
  ),
  connectTimeoutMs: key(whole(100, 600_000, 10_000), 'Time from opening a connection to a complete CONNECT packet.'),
  outputBufferBytesMax: key(
    whole(16_384, 1024 * MIB, 16 * MIB),
    'Bytes waiting for one socket; beyond it QoS 0 is dropped and counted, QoS 1 and 2 wait in the queue of the session.',
  ),
  drainTimeoutMs: key(
    whole(1000, 3_600_000, 60_000),
    'A socket that takes no byte for this long while bytes wait for it is closed.',
  ),
  connectionsMax: key(whole(1, 10_000_000, 100_000), 'Connections this node holds; further ones get "server busy".'),
  subscriptionsPerSessionMax: key(
    whole(1, 10_000_000, 10_000),
    'Subscriptions of one session; a further one gets "quota exceeded".',
  ),
}

/** Strict: an unknown key is an error, because a misspelt limit is a missing limit. */
const schema = z.strictObject({
  nodeId: key(
    z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, '1 to 64 letters, digits, ".", "_" or "-"')
      .default(() => `midge-${randomBytes(4).toString('hex')}`),
    'Name of this node; unique in its cluster.',
    { defaultText: '`midge-<random>`' },
  ),
  dataDir: key(
    text().default('.midge/data'),
    'Folder of the embedded store and of the generated first password, relative to the working directory; `memory` keeps everything in memory only.',
  ),
  durability: key(
    z.enum(['memory', 'everysec', 'replicated', 'fsync']).default('everysec'),
    'What an acknowledgement promises to a publisher; the sentence of each value is below and in `GET /status`.',
  ),
  redis: z.strictObject({
    url: key(
      absent(z.string().regex(/^rediss?:\/\/\S+$/, 'starts with redis:// or rediss://')),
      'Redis that the nodes of a cluster share, `redis://[user:password@]host[:port][/db]` or `rediss://` for TLS; absent means one node on its embedded store.',
      { secret: true, defaultText: 'none' },
    ),
    addresses: key(
      z.array(z.string().regex(/^(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?$/, 'is host:port')).default([]),
      'Further addresses, `host:port`, of Sentinels or of nodes of the Redis Cluster, for when the one of `url` is away.',
    ),
    username: key(absent(text(256)), 'User in Redis (ACL); instead of the one in `url`.'),
    password: key(absent(text(1024)), 'Password in Redis; instead of the one in `url`.', {
      secret: true,
      defaultText: 'none',
    }),
    cluster: key(
      z.boolean().default(false),
      'The addresses are nodes of a Redis Cluster; those that are not named are found.',
    ),
    sentinel: z.strictObject({
      masterName: key(
        absent(text(256)),
        'Name of the master that Sentinels watch; with it, the addresses are those of Sentinels (default port 26379).',
      ),
      username: key(absent(text(256)), 'User in the Sentinels, if they ask for one.'),
      password: key(absent(text(1024)), 'Password in the Sentinels, if they ask for one.', {
        secret: true,
        defaultText: 'none',
      }),
    }),
    tls: z.strictObject({
      caFile: key(
        absent(text()),
        'PEM file with the authorities that sign the certificates of Redis; absent means those of the system.',
        { file: true },
      ),
      certFile: key(absent(text()), 'PEM file with the certificate that this node shows to Redis.', { file: true }),
      keyFile: key(absent(text()), 'PEM file with the private key of `certFile`.', { file: true }),
      servername: key(
        absent(text(255)),
        'Name that the certificates of Redis have to hold, where it is not the host of the address.',
      ),
    }),
    keyPrefix: key(
      z
        .string()
        .regex(/^[\w.-]{1,64}$/, '1 to 64 letters, digits, "_", "." or "-"')
        .default('midge'),
      'Start of every key and channel name, so that several clusters can share one Redis.',
    ),
  }),
  listeners: z.strictObject({
    tcp: z.strictObject(address(1883, 'the MQTT listener')),
    tls: z.strictObject({
      ...address(0, 'the MQTT over TLS listener', '8883 when `certFile` is set, else 0'),
      ...tlsFiles('the TLS listener', ''),
    }),
    ws: z.strictObject({ ...address(0, 'the WebSocket listener'), paths }),
    wss: z.strictObject({
      ...address(0, 'the secure WebSocket listener', '8443 when `certFile` is set, else 0'),
      paths,
      ...tlsFiles('the secure WebSocket listener', ' Absent means the one of `listeners.tls`.'),
    }),
    more: key(
      z.array(moreListener).max(64).default([]),
      'Further listeners: a list of `kind` (tcp, tls, ws, wss), `port` and, where they differ from the listener of that kind, `host`, `proxyProtocol`, `certFile`, `keyFile`, `caFile`, `requireClientCert`, `certCnAsUsername`; also `loginRequired` (a client without username is refused, whatever `auth.anonymous` says) and `instance` (every client there is of this instance).',
    ),
  }),
  http: z.strictObject({
    host: key(text(255).default('127.0.0.1'), 'Address that the HTTP server (health, metrics, status) binds.'),
    port: key(whole(0, 65_535, 18_083), 'Port of the HTTP server; 0 turns it off.'),
  }),
  auth: z.strictObject({
    anonymous: key(z.boolean().default(false), 'Let clients in that send neither username nor password.'),
    hashesRunningMax: key(
      z
        .number()
        .int()
        .min(1)
        .max(64)
        .default(() => Math.min(HASHES_RUNNING_MAX, Math.max(1, availableParallelism() - 1))),
      'Passwords hashed at the same time; each takes 19 MiB and a thread of the pool, of which Node.js has four.',
      { defaultText: 'one less than the processors, 1 to 3' },
    ),
    hashesWaitingMax: key(
      whole(1, 100_000, 1000),
      'Passwords that may wait for their hash; beyond it the busiest address is told "server busy".',
    ),
    hashWaitMsMax: key(
      whole(100, 60_000, 5000),
      'Longest wait for a hash; then the client is told "server busy". Keep it below `limits.connectTimeoutMs`.',
    ),
    failuresMax: key(
      whole(1, 1_000_000, 20),
      'Failed logins of one user from one address (IPv6: /64) in a row that cost nothing; after each further one the user is not tried again from there for 1, 2, 4, … seconds, and told "server busy".',
    ),
    backOffMsMax: key(whole(1000, 86_400_000, 60_000), 'Longest such pause.'),
  }),
  instances: z.strictObject({
    portBaseMin: key(
      whole(1024, 45_535, 10_000),
      'Lowest port that an instance may get for itself; with port P it also has P + 10000 and P + 20000.',
    ),
    portBaseMax: key(whole(1024, 45_535, 19_999), 'Highest port that an instance may get for itself.'),
    portHost: key(text(255).default('0.0.0.0'), 'Address that the ports of instances bind.'),
  }),
  bootstrap: z.strictObject({
    user: key(
      text(128).default('midge'),
      'First user of the instance `default`; may publish and subscribe everywhere.',
    ),
    password: key(absent(text(256)), 'Password of the first user.', {
      secret: true,
      defaultText: 'generated at the first start and kept in `bootstrap.json` of the data folder',
    }),
    apiKey: key(absent(z.string().min(16).max(256)), 'Key that opens the whole HTTP API.', {
      secret: true,
      defaultText: 'generated at the first start and kept in `bootstrap.json` of the data folder',
    }),
  }),
  limits: z.strictObject(limits),
  outbound: z.strictObject({
    allow: key(
      z.array(z.string().regex(/^[\w.:/-]{1,253}$/, 'is an address, a range or a host name')).default([]),
      'Private addresses, ranges (CIDR) and host names that HTTP logins, key sets of tokens, webhooks and bridges may reach; public addresses they always may.',
    ),
  }),
  suback: z.strictObject({
    barrierMs: key(
      whole(0, 60_000, 500),
      'Longest wait of a SUBACK for every live node to have the route; then it is sent anyway and counted.',
    ),
  }),
  log: z.strictObject({
    level: key(
      z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
      'Least severe level that is written.',
    ),
    format: key(
      z.enum(['json', 'pretty']).default('json'),
      'One JSON object a line, or one readable line for a terminal.',
      { defaultText: '`pretty` when standard output is a terminal, else `json`' },
    ),
  }),
  compatibility: z.strictObject({}),
})

/** The one schema: type, documentation, environment names and checks come from it. */
export const configSchema: z.ZodObject = schema

/** The whole configuration of a node: frozen, checked and complete. */
export type Config = z.infer<typeof schema>

/** Bounds on what clients may use; every name carries its unit. */
export type Limits = Config['limits']

/** What an acknowledgement to a publisher promises; `lifecycle/durability.ts` has the sentences. */
export type Durability = Config['durability']

/**
 * Checks a complete tree of values.
 *
 * @returns the configuration with its defaults filled in, or what is wrong, each with the path of its key
 */
export function checkConfig(
  tree: unknown,
): { ok: true; config: Config } | { ok: false; issues: { path: string; text: string }[] } {
  const result = schema.safeParse(tree)
  if (result.success) return { ok: true, config: result.data }
  const issues = result.error.issues.map(issue => ({ path: issue.path.join('.'), text: issue.message }))
  return { ok: false, issues }
}
