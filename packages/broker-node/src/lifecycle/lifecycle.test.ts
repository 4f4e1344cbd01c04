import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { BOOTSTRAP_FILE, ensureBootstrap } from './bootstrap.ts'
import { renderDetailsBox } from './details-box.ts'
import { DURABILITY_SENTENCES, durabilitySentence } from './durability.ts'
import type { Details } from './running-node.ts'

const folder = mkdtempSync(join(tmpdir(), 'midge-lifecycle-'))
after(() => rmSync(folder, { recursive: true }))

const unset = { user: 'midge' }

test('what is configured is taken as it is and nothing is written', () => {
  const dataDir = join(folder, 'configured')
  const bootstrap = ensureBootstrap(dataDir, { user: 'me', password: 'pw', apiKey: 'a key' })
  assert.deepEqual(bootstrap, {
    username: 'me',
    password: 'pw',
    isPasswordGenerated: false,
    apiKey: 'a key',
    isApiKeyGenerated: false,
  })
  assert.throws(() => statSync(dataDir), { code: 'ENOENT' })
})

test('a generated password and key are kept, for the owner only, and found again', () => {
  const dataDir = join(folder, 'deep/er')
  const first = ensureBootstrap(dataDir, unset)
  assert.match(first.password, /^[A-Za-z0-9]{20}$/)
  assert.match(first.apiKey ?? '', /^midge_operator_[\w-]{32}$/)
  assert.equal(first.isPasswordGenerated, true)
  const path = join(dataDir, BOOTSTRAP_FILE)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual(ensureBootstrap(dataDir, unset), first)
  const { username, password, apiKey } = first
  assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), { username, password, apiKey })
})

test('a file that has a password only gets a key, and keeps its password', () => {
  const dataDir = join(folder, 'older')
  mkdirSync(dataDir)
  writeFileSync(join(dataDir, BOOTSTRAP_FILE), '{"username":"midge","password":"older"}')
  const first = ensureBootstrap(dataDir, unset)
  assert.equal(first.password, 'older')
  assert.match(first.apiKey ?? '', /^midge_operator_/)
  assert.deepEqual(ensureBootstrap(dataDir, unset), first)
})

test('without a data folder every start makes up its own', () => {
  const [a, b] = [ensureBootstrap(undefined, unset), ensureBootstrap(undefined, unset)]
  assert.notEqual(a.password, b.password)
  assert.notEqual(a.apiKey, b.apiKey)
})

test('a damaged file and an unusable folder are errors that say what to do', () => {
  const damaged = join(folder, 'damaged')
  mkdirSync(damaged)
  writeFileSync(join(damaged, BOOTSTRAP_FILE), '{"password":')
  const wanted = { code: 'MIDGE_CONFIG_INVALID', message: /damaged: delete it, or set MIDGE_BOOTSTRAP_PASSWORD/ }
  assert.throws(() => ensureBootstrap(damaged, unset), wanted)
  writeFileSync(join(folder, 'file'), '')
  const refused = { code: 'MIDGE_CONFIG_INVALID', message: /cannot .*bootstrap\.json/ }
  const below = join(folder, 'file/below')
  assert.throws(() => ensureBootstrap(below, unset), refused)
  // A key is no reason not to start.
  const { apiKey } = ensureBootstrap(join(folder, 'file'), { ...unset, password: 'pw' })
  assert.equal(apiKey, undefined)
})

const details: Details = {
  nodeId: 'midge-1',
  instance: 'default',
  host: 'localhost',
  tcpPort: 1883,
  tlsPort: undefined,
  wsPort: 8080,
  wssPort: undefined,
  httpUrl: 'http://127.0.0.1:18083',
  username: 'midge',
  password: "it's",
  isPasswordGenerated: false,
  apiKey: 'midge_operator_x',
  isAnonymousAllowed: false,
  store: 'embedded in .midge/data',
}

test('the box shows every detail in lines of one width', () => {
  const lines = renderDetailsBox(details).split('\n')
  const box = lines.slice(0, lines.findIndex(line => line.startsWith('└')) + 1)
  assert.equal(new Set(box.map(line => line.length)).size, 1)
  const text = box.join('\n')
  for (const wanted of [
    /Host +localhost/,
    /MQTT port +1883/,
    /WebSocket port +8080/,
    /User +midge/,
    /it's/,
    /Status +http:\/\/127\.0\.0\.1:18083\/status/,
  ]) {
    assert.match(text, wanted)
  }
})

test('the box names only what is there', () => {
  const labels = (of: Details): string[] =>
    [
      ...renderDetailsBox(of)
        .replace(/^[^├]*/, '')
        .matchAll(/^│ (\S+(?: \S+)*) {2,}/gm),
    ].map(match => match[1] ?? '')
  assert.deepEqual(labels(details), [
    'Host',
    'MQTT port',
    'WebSocket port',
    'User',
    'Password',
    'API key',
    'Status',
    'Store',
    'Node',
  ])
  const secureOnly = { ...details, tcpPort: undefined, wsPort: undefined, tlsPort: 8883, wssPort: 8443 }
  assert.deepEqual(labels({ ...secureOnly, httpUrl: undefined, isAnonymousAllowed: true }), [
    'Host',
    'MQTT over TLS port',
    'Secure WebSocket port',
    'User',
    'Password',
    'Anonymous clients',
    'Store',
    'Node',
  ])
})

test('a password that this node does not know is not shown, and what sets one is', () => {
  const text = renderDetailsBox({ ...details, password: undefined, apiKey: undefined })
  assert.match(text, /Password +not known to this node; MIDGE_BOOTSTRAP_PASSWORD sets one/)
  assert.doesNotMatch(text, /API key|it's/)
})

test('the commands below the box can be pasted, quotes included', () => {
  const text = renderDetailsBox(details)
  assert.match(text, /mosquitto_sub -h localhost -p 1883 -u midge -P 'it'\\''s' -V mqttv5 -t 'hello\/#' -v/)
  assert.match(text, /mosquitto_pub -h localhost -p 1883 -u midge -P 'it'\\''s' /)
  assert.doesNotMatch(renderDetailsBox({ ...details, tcpPort: undefined }), /mosquitto/)
})

test('a node that keeps nothing on disk promises no more than memory', () => {
  assert.equal(durabilitySentence('fsync', true), DURABILITY_SENTENCES.memory)
  assert.equal(durabilitySentence('fsync', false), DURABILITY_SENTENCES.fsync)
})
