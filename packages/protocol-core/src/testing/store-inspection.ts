import assert from 'node:assert/strict'
import type { SessionRecordView } from '../ports/session-inspection.ts'
import { type Fixture, INSTANCE, packetIds, type StoreTests } from './store-fixture.ts'

async function listAll(f: Fixture, instance: string, countMax: number): Promise<SessionRecordView[]> {
  const all: SessionRecordView[] = []
  let cursor: string | undefined
  do {
    const page = await f.store.listSessions(instance, cursor, countMax)
    assert.ok(page.sessions.length <= countMax, 'countMax bounds a page')
    all.push(...page.sessions)
    cursor = page.cursor
  } while (cursor !== undefined)
  return all
}

/** Looking at sessions. */
export const inspectionContract: StoreTests = {
  'a session is shown with its owner, its queue and what it subscribes to': async f => {
    const { epoch } = await f.open('größe|}:c', { username: 'ann' })
    const subscription = {
      qos: 1,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0,
      subscriptionId: 0,
    } as const
    const wanted = ['a', 'b/#'].map(topicFilter => ({ topicFilter, ...subscription }))
    await f.store.saveSubscriptions(INSTANCE, 'größe|}:c', epoch, wanted)
    await f.enqueue('größe|}:c', ['1', '2', '3'])
    await f.store.ackQueue(INSTANCE, 'größe|}:c', epoch, 1)
    const shown = await f.store.findSession(INSTANCE, 'größe|}:c')
    assert.ok(shown !== undefined)
    const { queueBytes, nodeId, expirySeconds, ...rest } = shown
    assert.ok(queueBytes > 2 && expirySeconds > 0 && nodeId !== undefined)
    assert.deepEqual(rest, {
      clientId: 'größe|}:c',
      owner: { username: 'ann' },
      ...{ epoch, headSeq: 2, tailSeq: 3, subscriptionCount: 2, inboundCount: 0 },
    })
    await f.close('größe|}:c', epoch)
    assert.equal((await f.store.findSession(INSTANCE, 'größe|}:c'))?.nodeId, undefined)
    assert.equal(await f.store.findSession(INSTANCE, 'nobody'), undefined)
  },

  'every stored session of an instance is listed once, connected or not, and none of another': async f => {
    const names = packetIds(57).map(n => `client ${n}`)
    for (const [index, clientId] of names.entries()) {
      const { epoch } = await f.open(clientId)
      if (index % 2 === 0) await f.close(clientId, epoch)
    }
    await f.open('gone with its connection', { sessionExpirySeconds: 0 })
    await f.open('foreign', { instance: `${INSTANCE}-2` })
    for (const countMax of [10, 1000]) {
      const listed = await listAll(f, INSTANCE, countMax)
      assert.deepEqual(listed.map(({ clientId }) => clientId).sort(), [...names].sort())
      assert.equal(listed.filter(({ nodeId }) => nodeId !== undefined).length, 28)
    }
    assert.deepEqual(
      (await listAll(f, `${INSTANCE}-2`, 10)).map(({ clientId }) => clientId),
      ['foreign'],
    )
    assert.deepEqual(await listAll(f, 'empty', 10), [])
  },
}
