import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CloseRequest, Message, Store, TakeoverAnswer } from '@midge/protocol-core'
import { LocalQuotas } from '../../cluster-local/local-quotas.ts'
import { Connections } from '../connection/connections.ts'
import { Linger } from '../connection/linger.ts'
import { Phase } from '../connection/phase.ts'
import { GroupQueues } from '../delivery/group-queues.ts'
import type { PacketSink } from '../ground/packet-sink.ts'
import { HookRights } from '../ground/rights.ts'
import { FlushList } from '../ground/tick.ts'
import { Usages } from '../limits/usages.ts'
import { Routers } from '../routing/routers.ts'
import { SessionEnds } from '../sessions/session-ends.ts'
import { SessionRegistry } from '../sessions/session-registry.ts'
import { WillPublisher } from '../sessions/will-publisher.ts'
import { connectPacket } from '../testing/raw-client.ts'
import { ScriptedStream } from '../testing/scripted-stream.ts'
import { Gate, overriding, poll, TEST_INFO } from '../testing/test-broker.ts'
import { doorThat, letIn, turnAway } from '../testing/test-door.ts'
import { subscription, type TestServices, testMessage, testServices } from '../testing/test-services.ts'
import { openStored } from '../testing/test-session.ts'
import { Authentication } from './authentication.ts'
import { ConnectHandler, type ConnectParts } from './connect-handler.ts'
import type { OpenClient } from './open-client.ts'

/** Connections whose packets all go to a CONNECT handler, on a store in memory. */
class Bench {
  readonly services: TestServices
  readonly parts: ConnectParts
  readonly connections: Connections
  readonly opened: OpenClient[] = []
  readonly takenOver: string[] = []
  /** What the node of a displaced connection answers. */
  answer: Promise<TakeoverAnswer> = Promise.resolve('released')
  /** Payloads of wills; the store takes them while `takesWills`. */
  readonly wills: string[] = []
  takesWills = true

  constructor(services: TestServices) {
    const takeover = (nodeId: string): Promise<TakeoverAnswer> => {
      this.takenOver.push(nodeId)
      return this.answer
    }
    const link = new Proxy(services.link, {
      get: (target, name, self) => (name === 'takeover' ? takeover : Reflect.get(target, name, self)),
    })
    this.services = { ...services, link }
    const routers = new Routers(services)
    const groups = new GroupQueues(services, routers)
    const sessions = new SessionRegistry(services)
    const sweeper = { poke: () => undefined }
    const outlets = new FlushList(services.tick)
    const publisher = {
      settled: async () => undefined,
      publish: async (_instance: string, { payload }: Message) => {
        if (this.takesWills) this.wills.push(Buffer.from(payload).toString())
        return this.takesWills
      },
    }
    const linger = new Linger()
    const instanceLimits = { version: 0, planOf: () => undefined }
    const usages = new Usages(services, { quotas: new LocalQuotas(), instanceLimits })
    this.connections = new Connections({ services, outlets, linger, sinkOf: connection => this.sinkOf(connection) })
    services.tick.join(outlets)
    this.parts = {
      ...{ services: this.services, routers, groups, sessions, connections: this.connections, usages },
      wills: new WillPublisher({ services, publisher }),
      ends: new SessionEnds({ services, routers, groups, sessions, sweeper, publisher }),
      sessionParts: { services, groups, ackFlushes: new FlushList(services.tick) },
      rights: new HookRights(services.hooks),
    }
  }

  /** A connection that sends these bytes. */
  connect(bytes: Uint8Array): ScriptedStream {
    const stream = new ScriptedStream()
    this.connections.accept({ stream, info: TEST_INFO, takesReads: false })
    stream.feed(bytes)
    return stream
  }

  private sinkOf(connection: ConstructorParameters<typeof ConnectHandler>[1]['connection']): PacketSink {
    const authentication = new Authentication(this.services.door, connection)
    const events = { onSlot: () => undefined, onOpened: (client: OpenClient) => this.opened.push(client) }
    const handler = new ConnectHandler(this.parts, { connection, authentication }, events)
    return {
      onPublish: () => true,
      endRun: () => undefined,
      onPacket: (first, chunk, bodyStart, bodyEnd) => handler.start(first, chunk, bodyStart, bodyEnd),
      hasExceeded: () => false,
      onRoom: () => undefined,
      onLimits: () => undefined,
      onEnded: () => undefined,
    }
  }
}

async function startBench(replaced: Partial<TestServices> = {}): Promise<Bench> {
  return new Bench(await testServices(replaced))
}

async function onStore(replace: (store: Store) => Partial<Store>): Promise<Bench> {
  const services = await testServices()
  return new Bench({ ...services, store: overriding(services.store, replace(services.store)) })
}

/** The reason code of the CONNACK. */
async function connack(stream: ScriptedStream): Promise<number> {
  await poll(() => stream.frames.length > 0, 'CONNACK')
  const [frame] = stream.frames
  assert.equal(frame?.type, 2)
  return frame?.body[1] ?? -1
}

test('everything that CONNECT settles is bound before anybody hears of the client', async () => {
  const bench = await startBench()
  let bound: unknown[] = []
  bench.services.hooks.connected = () => {
    const [client] = bench.opened
    const connection = client?.connection
    bound = [connection?.instance, connection?.clientId, connection?.isV5, connection?.isEstablished, connection?.phase]
  }
  assert.equal(await connack(bench.connect(connectPacket({ version: 4, clientId: 'c' }))), 0)
  assert.deepEqual(bound, ['default', 'c', false, true, Phase.open])
  const [client] = bench.opened
  assert.equal(bench.parts.sessions.sessionOf('default', 'c'), client?.session)
  assert.equal(client?.router, bench.parts.routers.of('default'))
})

test('user and instance of the client are what the door says', async () => {
  const bench = await startBench({ door: doorThat(async () => letIn({ username: 'ada', instance: 'one' })) })
  await connack(bench.connect(connectPacket({ clientId: 'c' })))
  const [client] = bench.opened
  assert.equal(client?.connection.username, 'ada')
  assert.equal(bench.parts.sessions.sessionOf('one', 'c'), client?.session)
  assert.equal(client?.router, bench.parts.routers.of('one'))
})

for (const [what, start, expected] of [
  [
    'by the application before CONNECT',
    async () => {
      const bench = await startBench()
      bench.services.hooks.preConnect = async () => false
      return bench
    },
    0x87,
  ],
  ['at the door', () => startBench({ door: doorThat(() => turnAway(0x86)) }), 0x86],
] as const) {
  test(`a client that is refused ${what} is told so, and leaves nothing behind`, async () => {
    const bench = await start()
    const stream = bench.connect(connectPacket({ clientId: 'c' }))
    assert.equal(await connack(stream), expected)
    await poll(() => stream.writableEnded, 'closed')
    assert.equal(bench.opened.length, 0)
    assert.equal(bench.connections.size, 0)
    assert.equal(bench.services.counters.connectionsRefusedTotal, 1)
    assert.equal(bench.parts.sessions.isSettled, true)
  })
}

test('a store that fails refuses the client, with a warning that names CONNECT', async () => {
  const bench = await onStore(() => ({ open: () => Promise.reject(new Error('down')) }))
  assert.equal(await connack(bench.connect(connectPacket({ clientId: 'c' }))), 0x88)
  assert.ok(
    bench.services.logger.lines.some(({ event, fields }) => event === 'store.failure' && fields['what'] === 'CONNECT'),
  )
})

test('a client that goes away while the store opens its session leaves a closed session', async () => {
  const gate = new Gate()
  let isClosed = false
  const bench = await onStore(store => ({
    open: async request => {
      await gate.passed
      return store.open(request)
    },
    close: async request => {
      isClosed = true
      return store.close(request)
    },
  }))
  const stream = bench.connect(connectPacket({ clientId: 'c' }))
  await poll(() => !bench.parts.sessions.isSettled, 'opening')
  stream.destroy()
  await poll(() => bench.connections.size === 0, 'gone')
  gate.open()
  await poll(() => isClosed, 'closed in the store')
  assert.equal(bench.opened.length, 0)
})

test('of two connections with one client id the later one stays; the owner elsewhere is told', async () => {
  const bench = await startBench()
  await openStored({ ...bench.services, nodeId: 'n2' }, { clientId: 'c' })
  const first = bench.connect(connectPacket({ clientId: 'c' }))
  await connack(first)
  assert.deepEqual(bench.takenOver, ['n2'])
  const second = bench.connect(connectPacket({ clientId: 'c' }))
  await connack(second)
  await poll(() => first.frames.length === 2, 'DISCONNECT')
  assert.equal(first.frames[1]?.body[0], 0x8e)
  assert.equal(bench.parts.sessions.sessionOf('default', 'c'), bench.opened[1]?.session)
})

test('the will of a connection displaced elsewhere is published before CONNACK, unless that one said goodbye', async () => {
  const will = { message: testMessage('will', 'gone'), willDelaySeconds: 0, messageExpirySeconds: -1 }
  for (const answer of ['released', 'unknown', 'goodbye'] as const) {
    const bench = await startBench()
    await openStored({ ...bench.services, nodeId: 'n2' }, { clientId: 'c', will })
    const gate = new Gate()
    bench.answer = gate.passed.then(() => answer)
    const stream = bench.connect(connectPacket({ clientId: 'c' }))
    await poll(() => bench.takenOver.length === 1, 'the question')
    await new Promise(setImmediate)
    assert.deepEqual([stream.frames.length, bench.wills.length], [0, 0], 'nothing happens before the answer')
    gate.open()
    assert.equal(await connack(stream), 0)
    assert.deepEqual(bench.wills, answer === 'goodbye' ? [] : ['gone'])
    assert.deepEqual((await bench.services.store.sweep('n1', Date.now() + 100_000, 10)).wills, [])
  }
})

test('a CONNECT is refused when the store does not take the will of the connection before, which stays due', async () => {
  const closes: CloseRequest[] = []
  const bench = await onStore(store => ({
    close: async request => {
      closes.push(request)
      return store.close(request)
    },
  }))
  const will = { message: testMessage('will', 'gone'), willDelaySeconds: 0, messageExpirySeconds: -1 }
  await openStored({ ...bench.services, nodeId: 'n2' }, { clientId: 'c', will })
  bench.takesWills = false
  const stream = bench.connect(connectPacket({ clientId: 'c' }))
  assert.equal(await connack(stream), 0x88)
  await poll(() => closes.length === 1, 'the end of the session')
  assert.equal(closes[0]?.will, 'discard')
  const { wills } = await bench.services.store.sweep('n1', Date.now() + 100_000, 10)
  assert.deepEqual(
    wills.map(due => due.will.message.topicName),
    ['will'],
  )
})

test('a resumed session has its subscriptions and its queue again', async () => {
  const bench = await startBench()
  const { store } = bench.services
  const { opened } = await openStored(bench.services, { clientId: 'c' })
  await store.saveSubscriptions('default', 'c', opened.epoch, [subscription('a/+', { qos: 1 })])
  const close = { instance: 'default', clientId: 'c', epoch: opened.epoch, sentSeq: 0, ackedAhead: [] }
  await store.close({ ...close, sessionExpirySeconds: 60, will: 'discard', nowMs: Date.now() })
  const packet = connectPacket({ version: 4, clientId: 'c', clean: false })
  const stream = bench.connect(packet)
  await connack(stream)
  assert.equal(stream.frames[0]?.body[0], 1)
  assert.equal(bench.parts.routers.of('default').match('a/b').live.length, 1)
  assert.equal(bench.services.counters.subscriptionsCurrent, 1)
})

test('an exchange ends in CONNACK with the last data of the server', async () => {
  const door = doorThat(({ method }) =>
    method === 'ONE' ? letIn({ username: 'eve' }, Buffer.from('bye')) : turnAway(0x8c),
  )
  const bench = await startBench({ door })
  const method = (name: string): number[] => [0x15, 0, name.length, ...Buffer.from(name)]
  const stream = bench.connect(connectPacket({ clientId: 'c', properties: method('ONE') }))
  assert.equal(await connack(stream), 0)
  assert.ok(stream.frames[0]?.body.includes(Buffer.from('bye')))
  assert.equal(bench.opened[0]?.connection.username, 'eve')
  assert.equal(await connack(bench.connect(connectPacket({ clientId: 'd', properties: method('TWO') }))), 0x8c)
})
