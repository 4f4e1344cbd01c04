import assert from 'node:assert/strict'
import { after, before, type TestContext, test } from 'node:test'
import { type BrokerOptions, type BrokerUnderTest, startBroker } from './broker-under-test.ts'
import * as mqtt from './mqtt-bytes.ts'
import { type ConnectFields, P, type Version } from './mqtt-bytes.ts'
import { RawClient } from './raw-client.ts'

/** A session that outlives its connection: Clean Session 0 in 3.x, a Session Expiry Interval in 5. */
export const durable: ConnectFields = { clean: false, properties: [[P.sessionExpiry, 300]] }

/** What a conformance test has at hand; connections close when it ends. */
export interface Scene {
  /** Version that this run of the test speaks. */
  readonly v: Version
  readonly t: TestContext
  readonly broker: BrokerUnderTest
  /** A connection on which nothing was sent. */
  open(version?: Version): Promise<RawClient>
  /** A connection that the broker has accepted; Clean Start and a fresh client id unless given. */
  connect(fields?: ConnectFields, version?: Version): Promise<RawClient>
  /** A fresh client id of 1 to 23 letters and digits. */
  id(): string
  /** A fresh topic of two levels. */
  topic(): string
  /** Sends these bytes on a new connection after CONNECT and expects the close with one of these codes (MQTT 5). */
  refuses(bytes: Uint8Array, reason: number | readonly number[], fields?: ConnectFields): Promise<void>
  /** Sends this CONNECT and expects that it is refused. */
  refusesConnect(connect: Uint8Array, codes: readonly number[], connack: 'must' | 'may' | 'never'): Promise<void>
}

const levels: Readonly<Record<string, Version>> = { 'v3.1': 3, 'v3.1.1': 4, v5: 5 }
const run = Math.random().toString(36).slice(2, 8)
let counter = 0
let broker: BrokerUnderTest | undefined

/** Starts the broker before the tests of the calling file and stops it after them. */
export function useBroker(options?: BrokerOptions): void {
  before(async () => {
    broker = await startBroker(options)
  })
  after(async () => {
    await broker?.stop()
  })
}

async function assertAlive(target: BrokerUnderTest): Promise<void> {
  target.assertRunning()
  const client = await RawClient.open(target.host, target.port, 4)
  const credentials = { username: target.user, password: target.password }
  await client.connect({ clientId: `alive${run}${++counter}`, ...credentials })
  await client.expectSilence()
  await client.disconnect()
}

function scene(v: Version, t: TestContext, target: BrokerUnderTest, clients: RawClient[]): Scene {
  const id = (): string => `c${run}${++counter}`
  const open = async (version: Version = v): Promise<RawClient> => {
    const client = await RawClient.open(target.host, target.port, version)
    clients.push(client)
    return client
  }
  const connect = async (fields: ConnectFields = {}, version: Version = v): Promise<RawClient> => {
    const client = await open(version)
    await client.connect({ clientId: id(), ...fields })
    return client
  }
  return {
    v,
    t,
    broker: target,
    open,
    connect,
    id,
    topic: () => `t${run}/${++counter}`,
    refuses: async (bytes, reason, fields) => {
      const client = await connect(fields)
      client.send(bytes)
      await client.expectClose({ reason, silent: target.target === 'mosquitto' })
      client.drop()
    },
    refusesConnect: async (bytes, codes, connack) => {
      const client = await open()
      client.send(bytes)
      await client.expectRefusal(codes, connack)
      client.drop()
    },
  }
}

/**
 * Registers a test that proves normative statements.
 *
 * `proves` holds strings such as `'v5 MQTT-3.1.4-3'` (several ids of a version may follow each other) or a bare
 * version for a rule without an id. The body runs once per version that occurs. After it, whatever it did to its
 * own connections, a new client must be able to connect and ping.
 */
export function conform(proves: readonly string[], text: string, body: (s: Scene) => Promise<void>): void {
  for (const [name, version] of Object.entries(levels)) {
    const own = proves.map(p => p.split(' ')).filter(words => words[0] === name)
    if (own.length === 0) continue
    const ids = own.flatMap(words => words.slice(1)).map(id => `[${id}] `)
    test(`${name} ${ids.join('')}${text}`, { timeout: 60_000 }, async t => {
      assert.ok(broker, 'useBroker() is called in this file')
      const clients: RawClient[] = []
      try {
        await body(scene(version, t, broker, clients))
      } finally {
        for (const client of clients) client.drop()
      }
      await assertAlive(broker)
    })
  }
}

/** Runs `work` for each item, at most `width` at a time, and reports every failure with its item's name. */
export async function eachOf<T>(
  items: readonly (readonly [name: string, item: T])[],
  work: (item: T, name: string) => Promise<void>,
  width = 16,
): Promise<void> {
  assert.ok(items.length > 0, 'a table is not empty')
  const failures: string[] = []
  const rest = [...items]
  const worker = async (): Promise<void> => {
    for (let entry = rest.shift(); entry; entry = rest.shift()) {
      const [name, item] = entry
      await work(item, name).catch((error: Error) => failures.push(`${name}: ${error.message}`))
    }
  }
  await Promise.all(Array.from({ length: width }, worker))
  if (failures.length === 0) return
  const shown = failures.slice(0, 8).join('; ')
  assert.fail(`${failures.length} of ${items.length} cases: ${shown}${failures.length > 8 ? '; …' : ''}`)
}

/** Bytes of a CONNECT with this session's defaults; for tests that need the raw form. */
export function connectBytes(v: Version, fields: ConnectFields): Uint8Array {
  return mqtt.connect(v, { clientId: `r${run}${++counter}`, ...fields })
}
