import assert from 'node:assert/strict'
import type { TakenEntry } from '../ports/groups.ts'
import {
  CONTRACT_LIMITS,
  type Fixture,
  INSTANCE,
  message,
  packetIds,
  payloadsOf,
  type StoreTests,
} from './store-fixture.ts'

const GROUP = '$share/group/room/+'

const seqsOf = (entries: TakenEntry[]): number[] => entries.map(entry => entry.seq)

/** A member with its epoch, so that the group calls are short. */
class Member {
  readonly #f: Fixture
  readonly clientId: string
  readonly epoch: number
  readonly #group: string

  constructor(f: Fixture, clientId: string, epoch: number, group: string) {
    this.#f = f
    this.clientId = clientId
    this.epoch = epoch
    this.#group = group
  }

  take(ids: number[]): Promise<TakenEntry[]> {
    return this.#f.store.takeGroup(INSTANCE, this.#group, this.clientId, this.epoch, ids)
  }

  held(): Promise<TakenEntry[]> {
    return this.#f.store.heldOfGroup(INSTANCE, this.#group, this.clientId, this.epoch)
  }

  ack(seqs: number[]): Promise<void> {
    return this.#f.store.ackGroup(INSTANCE, this.#group, this.clientId, seqs)
  }

  release(seqs: number[]): Promise<void> {
    return this.#f.store.releaseGroup(INSTANCE, this.#group, this.clientId, seqs)
  }

  giveBack(keepQos2: boolean): Promise<void> {
    return this.#f.store.returnToGroup(INSTANCE, this.#group, this.clientId, keepQos2)
  }
}

async function member(f: Fixture, clientId: string, group = GROUP): Promise<Member> {
  return new Member(f, clientId, (await f.open(clientId)).epoch, group)
}

/** Share groups. */
export const groupContract: StoreTests = {
  'members take what is oldest, and no message goes to two': async f => {
    const a = await member(f, 'a')
    const b = await member(f, 'b')
    await f.feedGroup(GROUP, ['1', '2', '3', '4', '5'])
    const first = await a.take([10, 11])
    assert.deepEqual(payloadsOf(first), ['1', '2'])
    assert.deepEqual(
      first.map(({ packetId, qos, released }) => ({ packetId, qos, released })),
      [
        { packetId: 10, qos: 1, released: false },
        { packetId: 11, qos: 1, released: false },
      ],
    )
    assert.deepEqual(payloadsOf(await b.take([10])), ['3'])
    assert.deepEqual(payloadsOf(await a.take([12, 13, 14])), ['4', '5'])
    assert.deepEqual(await b.take([11]), [])
    assert.deepEqual(await a.take([]), [])
  },

  'members that take at the same time share everything and nothing twice': async f => {
    const members = [await member(f, 'a'), await member(f, 'b'), await member(f, 'c')]
    const payloads = packetIds(60).map(String)
    await f.feedGroup(GROUP, payloads)
    const taken = await Promise.all(
      packetIds(15).flatMap(round => members.map(one => one.take([2 * round, 2 * round + 1]))),
    )
    const all = taken.flatMap(payloadsOf)
    assert.deepEqual(
      all.sort((x, y) => Number(x) - Number(y)),
      payloads,
    )
  },

  'what is acknowledged is gone, and only its holder may acknowledge': async f => {
    const a = await member(f, 'a')
    const b = await member(f, 'b')
    await f.feedGroup(GROUP, ['1', '2'])
    const taken = await a.take([1, 2])
    await b.ack(seqsOf(taken))
    await a.ack([taken[0]?.seq ?? 0])
    await a.ack([taken[0]?.seq ?? 0])
    await a.giveBack(false)
    assert.deepEqual(payloadsOf(await b.take([1, 2, 3])), ['2'])
  },

  'what is returned goes to others in its old order, before what is newer': async f => {
    const a = await member(f, 'a')
    const b = await member(f, 'b')
    const c = await member(f, 'c')
    await f.feedGroup(GROUP, ['1', '2', '3', '4', '5', '6'])
    await a.take([1])
    await b.take([1, 2])
    await a.take([2, 3])
    await b.giveBack(true)
    await a.giveBack(true)
    assert.deepEqual(payloadsOf(await c.take(packetIds(10))), ['1', '2', '3', '4', '5', '6'])
  },

  'returnToGroup keeps QoS 2 when told to, and gives it back when not': async f => {
    const a = await member(f, 'a')
    const b = await member(f, 'b')
    await f.feedGroup(GROUP, ['q2-1'], 2)
    await f.feedGroup(GROUP, ['q1'], 1)
    await f.feedGroup(GROUP, ['q2-2'], 2)
    await a.take([1, 2, 3])
    await a.giveBack(true)
    assert.deepEqual(payloadsOf(await b.take([1, 2, 3])), ['q1'])
    assert.deepEqual(payloadsOf(await a.held()), ['q2-1', 'q2-2'])
    await a.giveBack(false)
    assert.deepEqual(await a.held(), [])
    assert.deepEqual(payloadsOf(await b.take([4, 5, 6])), ['q2-1', 'q2-2'])
  },

  'a connection that ends gives back what is below QoS 2 and keeps the rest for its session': async f => {
    const a = await member(f, 'a')
    const b = await member(f, 'b')
    await f.feedGroup(GROUP, ['q1'], 1)
    await f.feedGroup(GROUP, ['q2-1', 'q2-2'], 2)
    const taken = await a.take([21, 22, 23])
    await a.release([taken[1]?.seq ?? 0])
    await f.close('a', a.epoch)
    assert.deepEqual(payloadsOf(await b.take([1, 2, 3])), ['q1'])
    const resumed = await member(f, 'a')
    const held = await resumed.held()
    assert.deepEqual(
      held.map(({ seq, packetId, qos, released }) => ({ seq, packetId, qos, released })),
      [
        { seq: taken[1]?.seq, packetId: 22, qos: 2, released: true },
        { seq: taken[2]?.seq, packetId: 23, qos: 2, released: false },
      ],
    )
    await resumed.ack(seqsOf(held))
    assert.deepEqual(await resumed.held(), [])
  },

  'a displaced connection and a dead node give back what is below QoS 2': async f => {
    const a = await member(f, 'a')
    const b = await member(f, 'b')
    const c = await member(f, 'c')
    await f.feedGroup(GROUP, ['1', '2'])
    await f.feedGroup(GROUP, ['q2'], 2)
    await a.take([1, 2, 3])
    const taker = await f.open('a', { nodeId: 'node-2' })
    assert.deepEqual(payloadsOf(await b.take([1])), ['1'])
    const held = await f.store.heldOfGroup(INSTANCE, GROUP, 'a', taker.epoch)
    assert.deepEqual(payloadsOf(held), ['q2'])
    await f.store.reapNode('node-1', f.nowMs, 10)
    const reader = await f.open('c')
    assert.ok(reader.epoch > c.epoch)
    assert.deepEqual(payloadsOf(await f.store.takeGroup(INSTANCE, GROUP, 'c', reader.epoch, [1, 2, 3])), ['1', '2'])
  },

  'a session that ends holds nothing': async f => {
    const a = await member(f, 'a')
    const b = await member(f, 'b')
    await f.feedGroup(GROUP, ['closed', 'expired', 'clean'])
    await a.take([1])
    await f.close('a', a.epoch, { sessionExpirySeconds: 0 })
    assert.deepEqual(payloadsOf(await b.take([1])), ['closed'])
    const expiring = await member(f, 'expiring')
    await expiring.take([1])
    await f.close('expiring', expiring.epoch, { sessionExpirySeconds: 1 })
    await f.sweepAll(f.nowMs + 1_000)
    assert.deepEqual(payloadsOf(await b.take([2])), ['expired'])
    const cleaned = await member(f, 'cleaned')
    await cleaned.take([1])
    await f.open('cleaned', { cleanStart: true })
    assert.deepEqual(payloadsOf(await b.take([3])), ['clean'])
  },

  'a group without members online keeps its messages': async f => {
    await f.feedGroup(GROUP, ['1', '2'])
    const late = await member(f, 'late')
    assert.deepEqual(payloadsOf(await late.take(packetIds(5))), ['1', '2'])
  },

  'groups of one name and different filters are different groups': async f => {
    const other = '$share/group/room/#'
    await f.feedGroup(GROUP, ['plus'])
    await f.feedGroup(other, ['hash'])
    const a = await member(f, 'a', other)
    assert.deepEqual(payloadsOf(await a.take([1, 2])), ['hash'])
  },

  'deleteGroup forgets the queue and what was taken': async f => {
    const a = await member(f, 'a')
    await f.feedGroup(GROUP, ['1', '2'], 2)
    await a.take([1])
    await f.store.deleteGroup(INSTANCE, GROUP)
    await f.store.deleteGroup(INSTANCE, GROUP)
    assert.deepEqual(await a.take([2, 3]), [])
    assert.deepEqual(await a.held(), [])
    await f.feedGroup(GROUP, ['new'])
    assert.deepEqual(payloadsOf(await a.take([4, 5])), ['new'])
  },

  'a group queue is bounded and refuses the newest': async f => {
    const bound = CONTRACT_LIMITS.offlineQueueMessages + CONTRACT_LIMITS.onlineQueueMessages
    const results = await f.store.commit(
      packetIds(bound + 1).map(n => f.item({ message: message('t', String(n)), groups: [{ group: GROUP, qos: 1 }] })),
    )
    const refused = results.findIndex(result => result.droppedGroups === 1)
    assert.ok(refused >= CONTRACT_LIMITS.offlineQueueMessages, `refused from ${refused}`)
    assert.ok(results.slice(refused).every(result => result.status === 'stored' && result.droppedGroups === 1))
    const a = await member(f, 'a')
    const taken = await a.take(packetIds(bound + 1))
    assert.deepEqual(payloadsOf(taken), packetIds(refused).map(String))
  },

  'an expired message is not taken': async f => {
    const a = await member(f, 'a')
    const expiresAtMs = Date.now() + 50
    const groups = [{ group: GROUP, qos: 1 as const }]
    await f.commit({ message: message('t', 'expired', { expiresAtMs }), groups })
    await f.commit({ message: message('t', 'kept'), groups })
    await f.clockPasses(expiresAtMs)
    assert.deepEqual(payloadsOf(await a.take([1, 2])), ['kept'])
  },

  'clients with strange names are members like others': async f => {
    await f.feedGroup(GROUP, ['1', '2', '3'], 2)
    for (const clientId of ['a}b{c', '__proto__', 'x/y:z']) {
      const one = await member(f, clientId)
      const [taken] = await one.take([7])
      assert.ok(taken !== undefined)
      assert.deepEqual(seqsOf(await one.held()), [taken.seq])
      await one.ack([taken.seq])
      assert.deepEqual(await one.held(), [])
    }
  },
}
