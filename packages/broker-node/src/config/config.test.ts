import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { BrokerError } from '@midge/protocol-core'
import { CONFIG_KEYS, envName, findKey, nearest } from './config-keys.ts'
import { type ConfigSources, loadConfig } from './load-config.ts'
import { describeConfig } from './print.ts'

const folder = mkdtempSync(join(tmpdir(), 'midge-config-'))
after(() => rmSync(folder, { recursive: true }))

function fileWith(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

function load(options: ConfigSources = {}) {
  return loadConfig({ env: {}, ...options })
}

function refusal(options: ConfigSources): string {
  try {
    load(options)
  } catch (error) {
    assert(error instanceof BrokerError)
    assert.equal(error.code, 'MIDGE_CONFIG_INVALID')
    return error.message
  }
  return assert.fail('the configuration was accepted')
}

test('the defaults are those of the contract', () => {
  const { config, origins } = load()
  assert.match(config.nodeId, /^midge-[0-9a-f]{8}$/)
  assert.notEqual(load().config.nodeId, config.nodeId)
  assert.equal(config.listeners.tcp.port, 1883)
  assert.deepEqual(
    [config.listeners.tls.port, config.listeners.ws.port, config.listeners.wss.port, config.http.port],
    [0, 0, 0, 18_083],
  )
  assert.deepEqual(config.listeners.ws.paths, ['/', '/mqtt'])
  assert.equal(config.auth.anonymous, false)
  assert.equal(config.durability, 'everysec')
  assert.equal(config.redis.url, undefined)
  assert.deepEqual(
    [config.limits.maxPacketBytes, config.limits.receiveMax, config.limits.offlineQueueMessages],
    [4_194_304, 100, 1000],
  )
  assert.deepEqual(
    [config.limits.offlineQueueBytes, config.limits.sessionExpirySecondsMax, config.limits.topicLevelsMax],
    [8_388_608, 604_800, 128],
  )
  assert.equal(config.dataDir, join(process.cwd(), '.midge/data'))
  assert.deepEqual(new Set(origins.values()), new Set(['default']))
})

test('file, environment and --set win over one another in this order', () => {
  const file = fileWith('order.yaml', 'listeners: { tcp: { port: 1 }, ws: { port: 2 } }\nhttp: { port: 3 }\nlimits:\n')
  const env = { MIDGE_LISTENERS_WS_PORT: '20', MIDGE_HTTP_PORT: '30' }
  const { config, origins } = load({ file, env, set: ['http.port=300', 'http.port=301'] })
  assert.deepEqual([config.listeners.tcp.port, config.listeners.ws.port, config.http.port], [1, 20, 301])
  const came = ['listeners.tcp.port', 'listeners.ws.port', 'http.port', 'log.level'].map(key => origins.get(key))
  assert.deepEqual(came, [file, 'MIDGE_LISTENERS_WS_PORT', '--set', 'default'])
})

test('the environment may name the file', () => {
  const file = fileWith('named.yaml', 'nodeId: from-file\n')
  assert.equal(load({ env: { MIDGE_CONFIG_FILE: file } }).config.nodeId, 'from-file')
})

test('every key has a mechanical environment name, a default or none, and one sentence', () => {
  const names = new Set<string>()
  for (const { key, env, meta, json } of CONFIG_KEYS) {
    assert.match(env, /^MIDGE_[A-Z0-9_]+$/)
    assert.equal(env, envName(key))
    names.add(env)
    assert.match(meta.description, /^[A-Z].*\.$/, key)
    if (json['type'] === 'integer') assert(Number(json['minimum']) < Number(json['maximum']), key)
  }
  assert.equal(names.size, CONFIG_KEYS.length)
})

test('every name that the outside relies on is known', () => {
  const contract = [
    'NODE_ID REDIS_URL DATA_DIR LISTENERS_TCP_HOST LISTENERS_TCP_PORT LISTENERS_WS_PORT LISTENERS_TLS_PORT',
    'LISTENERS_TLS_CERT_FILE LISTENERS_TLS_KEY_FILE HTTP_HOST HTTP_PORT AUTH_ANONYMOUS BOOTSTRAP_USER',
    'BOOTSTRAP_PASSWORD BOOTSTRAP_API_KEY DURABILITY',
  ]
  const known = new Set(CONFIG_KEYS.map(entry => entry.env))
  for (const name of contract.join(' ').split(' ')) assert(known.has(`MIDGE_${name}`), name)
})

test('every key can be set by its environment variable and by --set', () => {
  const cert = fileWith('some.pem', 'x')
  for (const { key, env, kind, json, meta } of CONFIG_KEYS) {
    const choices = json['enum']
    let value = 'long-enough-to-be-anything'
    if (Array.isArray(choices)) value = String(choices.at(-1))
    else if (kind === 'number') value = key.endsWith('.port') ? '4711' : String(json['maximum'])
    else if (kind === 'boolean') value = 'true'
    else if (key === 'redis.addresses') value = 'redis-2:6380,[::1]:6379'
    else if (kind === 'list') value = '/a,/b'
    else if (key === 'listeners.more') value = '[{"kind":"tcp","port":4711}]'
    else if (kind === 'objects') value = JSON.stringify([{ hosts: ['*.example.org'], certFile: cert, keyFile: cert }])
    else if (meta.file === true) value = cert
    else if (key === 'redis.url') value = 'redis://127.0.0.1'
    const tls = ['listeners.tls.', 'listeners.wss.'].flatMap(group => [
      `${group}certFile=${cert}`,
      `${group}keyFile=${cert}`,
      `${group}caFile=${cert}`,
    ])
    const redis = ['redis.url=rediss://127.0.0.1', `redis.tls.certFile=${cert}`, `redis.tls.keyFile=${cert}`]
    if (key === 'redis.addresses') redis.push('redis.cluster=true')
    if (key === 'redis.url') redis.length = 0
    const wide = ['limits.outputBufferBytesMax=1073741824', 'instances.portBaseMin=1024', 'instances.portBaseMax=45535']
    const set = [...tls, ...redis, ...wide].filter(one => !one.startsWith(`${key}=`))
    assert.equal(load({ env: { [env]: value }, set }).origins.get(key), env, key)
    assert.equal(load({ set: [...set, `${key}=${value}`] }).origins.get(key), '--set', key)
  }
})

test('further listeners that cannot work are refused', () => {
  const cert = fileWith('some.pem', 'x')
  const refused = (more: object, ...set: string[]): string =>
    refusal({ set: [...set, `listeners.more=${JSON.stringify([{ kind: 'tcp', port: 1884 }, more])}`] })
  assert.match(
    refused({ kind: 'ws', port: 1884 }),
    /`listeners.more\[0\].port` and `listeners.more\[1\].port` are both 1884/,
  )
  assert.match(refused({ kind: 'ws', port: 1883 }), /`listeners.tcp.port` and `listeners.more\[1\].port` are both 1883/)
  assert.match(refused({ kind: 'tls', port: 8884 }), /`listeners.more\[1\]` needs a `certFile`/)
  assert.match(refused({ kind: 'tls', port: 8884, certFile: cert }), /go together/)
  const files = [`listeners.tls.certFile=${cert}`, `listeners.tls.keyFile=${cert}`]
  assert.match(refused({ kind: 'wss', port: 8884, requireClientCert: true }, ...files), /needs a `caFile`/)
  assert.match(refused({ kind: 'tcp', port: 1885, anonymus: true }), /anonymus/)
})

test('settings of Redis that contradict each other are refused', () => {
  const refused = (...set: string[]): string => refusal({ set: ['redis.url=redis://127.0.0.1', ...set] })
  assert.match(refused('redis.cluster=true', 'redis.sentinel.masterName=main'), /not both/)
  assert.match(refused('redis.addresses=a:1'), /needs `redis.cluster` or `redis.sentinel.masterName`/)
  assert.match(refused('redis.addresses=a b', 'redis.cluster=true'), /is host:port/)
  assert.match(refused('redis.tls.servername=redis'), /`redis.tls.servername` needs a `redis.url` with rediss:/)
  const cert = fileWith('redis.pem', 'x')
  assert.match(refused(`redis.tls.certFile=${cert}`), /go together/)
})

test('secrets of Redis may come from files', () => {
  const secret = fileWith('redis-password', 'hunter2\n')
  const env = { MIDGE_REDIS_PASSWORD_FILE: secret, MIDGE_REDIS_SENTINEL_PASSWORD_FILE: secret }
  const { redis } = load({ env }).config
  assert.deepEqual([redis.password, redis.sentinel.password], ['hunter2', 'hunter2'])
})

test('an unknown key is named with the nearest known one and its place', () => {
  const file = fileWith('typo.yaml', 'listeners:\n  tcp:\n    prot: 1884\n')
  assert.equal(
    refusal({ file }),
    `unknown key \`listeners.tcp.prot\` in ${file}; the nearest known key is \`listeners.tcp.port\``,
  )
  assert.equal(
    refusal({ env: { MIDGE_LISTENERS_TCP_PROT: '1' } }),
    'unknown environment variable `MIDGE_LISTENERS_TCP_PROT`; the nearest known one is `MIDGE_LISTENERS_TCP_PORT`',
  )
  assert.equal(
    refusal({ set: ['limits.recieveMax=5'] }),
    'unknown key `limits.recieveMax` in --set; the nearest known key is `limits.receiveMax`',
  )
})

test('a value out of bounds or of the wrong kind is named with its place', () => {
  assert.match(refusal({ env: { MIDGE_HTTP_PORT: '65536' } }), /^`http\.port` from MIDGE_HTTP_PORT: .*65535/)
  assert.match(refusal({ env: { MIDGE_HTTP_PORT: 'http' } }), /^`http\.port` from MIDGE_HTTP_PORT: .*number/)
  assert.match(refusal({ env: { MIDGE_AUTH_ANONYMOUS: 'maybe' } }), /^`auth\.anonymous` from MIDGE_AUTH_ANONYMOUS/)
  assert.match(refusal({ set: ['durability=always'] }), /^`durability` from --set: .*everysec/)
  assert.match(refusal({ set: ['listeners.ws.paths=mqtt'] }), /^`listeners\.ws\.paths` from --set: starts with \//)
  assert.match(refusal({ set: ['redis.url=localhost:6379'] }), /^`redis\.url` from --set: starts with redis:/)
  assert.match(refusal({ set: ['http.port'] }), /key=value/)
  assert.match(refusal({ file: fileWith('group.yaml', 'http: 8080\n') }), /`http` in .* is a group/)
  assert.match(refusal({ file: fileWith('bad.yaml', 'a: [1\n') }), /bad\.yaml: /)
  assert.match(refusal({ file: join(folder, 'absent.yaml') }), /absent\.yaml \(ENOENT\), named by --config/)
})

test('a refused secret is not repeated in the error', () => {
  assert.doesNotMatch(refusal({ env: { MIDGE_REDIS_URL: 'hunter2@host' } }), /hunter2/)
  assert.doesNotMatch(refusal({ env: { MIDGE_BOOTSTRAP_API_KEY: 'hunter2' } }), /hunter2/)
})

test('relations between keys are checked', () => {
  assert.match(refusal({ set: ['listeners.tls.port=8883'] }), /`listeners\.tls\.certFile` has to be set/)
  assert.match(refusal({ set: ['http.port=1883'] }), /`listeners\.tcp\.port` and `http\.port` are both 1883/)
  assert.match(refusal({ set: ['limits.maxPacketBytes=33554432'] }), /outputBufferBytesMax/)
  assert.match(refusal({ set: ['instances.portBaseMax=9999'] }), /portBaseMax.*at least.*portBaseMin/)
  assert.match(refusal({ set: ['listeners.tls.certFile=/no/such.pem'] }), /keyFile/)
  const set = ['listeners.tls.certFile=/no/such.pem', 'listeners.tls.keyFile=/no/such.pem']
  assert.match(refusal({ set }), /`listeners\.tls\.certFile` names \/no\/such\.pem, which cannot be read \(ENOENT\)/)
})

test('a certificate turns TLS on, and secure WebSocket borrows it when it gets a port', () => {
  const pem = fileWith('pem', 'x')
  const set = [`listeners.tls.certFile=${pem}`, `listeners.tls.keyFile=${pem}`]
  const { listeners } = load({ set }).config
  assert.deepEqual([listeners.tls.port, listeners.wss.port], [8883, 0])
  assert.equal(load({ set: [...set, 'listeners.tls.port=0'] }).config.listeners.tls.port, 0)
  assert.equal(load({ set: [...set, 'listeners.wss.port=9000'] }).config.listeners.wss.certFile, pem)
})

test('a secret may come from a file, but not from two places', () => {
  const secret = fileWith('secret', 'from a file\n')
  const { config, origins } = load({ env: { MIDGE_BOOTSTRAP_PASSWORD_FILE: secret } })
  assert.equal(config.bootstrap.password, 'from a file')
  assert.equal(origins.get('bootstrap.password'), 'MIDGE_BOOTSTRAP_PASSWORD_FILE')
  const both = { MIDGE_BOOTSTRAP_PASSWORD_FILE: secret, MIDGE_BOOTSTRAP_PASSWORD: 'x' }
  assert.match(refusal({ env: both }), /not both/)
  assert.match(refusal({ env: { MIDGE_HTTP_HOST_FILE: secret } }), /unknown environment variable/)
})

test('variables that Kubernetes injects for a Service named midge are passed over', () => {
  const env = {
    MIDGE_SERVICE_HOST: '10.0.0.1',
    MIDGE_SERVICE_PORT_MQTT: '1883',
    MIDGE_PORT: 'tcp://10.0.0.1:1883',
    MIDGE_PORT_1883_TCP_ADDR: '10.0.0.1',
    MIDGE_HTTP_PORT: 'tcp://10.0.0.2:18083',
  }
  assert.equal(load({ env }).config.http.port, 18_083)
})

test('an empty variable counts as not set, memory has two spellings, the result is frozen', () => {
  const { config } = load({ env: { MIDGE_REDIS_URL: '', MIDGE_DATA_DIR: ':memory:' } })
  assert.equal(config.redis.url, undefined)
  assert.equal(config.dataDir, 'memory')
  assert(Object.isFrozen(config) && Object.isFrozen(config.listeners.tcp) && Object.isFrozen(config.limits))
})

test('describeConfig() shows every key and its origin and hides secrets', () => {
  const text = describeConfig(load({ env: { MIDGE_BOOTSTRAP_PASSWORD: 'hunter2' } }))
  assert.equal(text.split('\n').length, CONFIG_KEYS.length)
  assert.match(text, /^bootstrap\.password +\[hidden\] +# MIDGE_BOOTSTRAP_PASSWORD$/m)
  assert.doesNotMatch(text, /hunter2/)
})

test('nearest() prefers the fewest changes', () => {
  assert.equal(nearest('prot', ['host', 'port']), 'port')
  assert.equal(nearest('listeners.tcp.Port', ['listeners.tls.port', 'listeners.tcp.port']), 'listeners.tcp.port')
  assert.equal(findKey('constructor'), undefined)
})
