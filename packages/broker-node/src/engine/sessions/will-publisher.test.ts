import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import { BrokerError, type Message, type OpenedSession, type StoredWill, type WillFate } from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import { type TestServices, testMessage, testServices } from '../testing/test-services.ts'
import { type WaitingClient, WillPublisher } from './will-publisher.ts'

const NAME = { instance: 'default', clientId: 'c' }

function willOf(payload: string): StoredWill {
  const message = testMessage('state', payload, { retain: true, publisherId: 'c' })
  return { message, willDelaySeconds: 0, messageExpirySeconds: 30 }
}

describe('WillPublisher', () => {
  let services: TestServices
  let nowMs: number
  let wills: WillPublisher
  let published: Message[]
  let isStoring: boolean
  let mayFire: boolean

  const texts = (): string[] => published.map(message => Buffer.from(message.payload).toString())
  const open = (payload: string): Promise<OpenedSession> =>
    services.store.open({
      ...NAME,
      username: undefined,
      nodeId: 'n',
      cleanStart: false,
      sessionExpirySeconds: 60,
      will: willOf(payload),
      nowMs,
    })
  const client = (saidGoodbye = false, isThere = true): WaitingClient => ({
    ...NAME,
    saidGoodbye: Promise.resolve(saidGoodbye),
    isThere: () => isThere,
  })
  const end = (epoch: number, fate: WillFate): Promise<unknown> =>
    services.store.close({ ...NAME, epoch, sessionExpirySeconds: 60, sentSeq: 0, ackedAhead: [], will: fate, nowMs })
  const leftOver = async (): Promise<number> => {
    nowMs += 100_000
    return (await services.store.sweep('n', nowMs, 10)).wills.length
  }

  beforeEach(async () => {
    services = await testServices()
    nowMs = 1_700_000_000_000
    published = []
    isStoring = true
    mayFire = true
    const door = { ...services.door, wills: { ownerOf: () => undefined, mayFire: () => mayFire } }
    wills = new WillPublisher({
      services: { ...services, door, nowMs: () => nowMs },
      publisher: {
        publish: async (_, message) => {
          if (isStoring) published.push(message)
          return isStoring
        },
      },
    })
  })

  it('publishes what earlier connections left, oldest first, and that of the displaced one last', async () => {
    const first = await open('1')
    await end(first.epoch, 'fire')
    const second = await open('2')
    assert.equal(second.dueWills.length, 1)
    nowMs += 10_000
    await wills.settle(await open('3'), client())
    assert.deepEqual(texts(), ['1', '2'])
    assert.equal(published[0]?.expiresAtMs, nowMs + 30_000)
    assert.equal(services.counters.willsPublished, 2)
    assert.equal(await leftOver(), 0)
  })

  it('drops the will of a displaced connection that had said goodbye', async () => {
    await open('1')
    await wills.settle(await open('2'), client(true))
    assert.deepEqual(texts(), [])
    assert.equal(await leftOver(), 0)
  })

  it('forgets a will that may not be published any more, counted and logged, and goes on', async () => {
    await end((await open('1')).epoch, 'fire')
    await open('2')
    nowMs += 10_000
    mayFire = false
    await wills.settle(await open('3'), client())
    assert.deepEqual(texts(), [])
    assert.equal(services.counters.dropped.get(DropReason.publishDenied), 2)
    assert.equal(services.counters.willsPublished, 0)
    assert.equal(services.logger.lines.filter(line => line.event === 'will.denied').length, 2)
    assert.equal(await leftOver(), 0)
  })

  it('throws when the store does not take a will, which stays due', async () => {
    await open('1')
    isStoring = false
    await assert.rejects(wills.settle(await open('2'), client()), (error: unknown) => {
      return error instanceof BrokerError && error.code === 'MIDGE_STORE_UNAVAILABLE'
    })
    assert.equal(await leftOver(), 1)
  })

  it('waits for a will that somebody else publishes, and takes it over when that one has died', async () => {
    for (const dies of [false, true]) {
      await end((await open('w')).epoch, 'fire')
      const [due] = (await services.store.sweep('other', nowMs, 1)).wills
      assert.ok(due !== undefined)
      const opened = await open('next')
      let isSettled = false
      const settled = wills.settle(opened, client()).then(() => {
        isSettled = true
      })
      assert.equal(await services.store.claimWill('default', 'c', due.id, nowMs), 'claimed')
      await new Promise(resolve => setImmediate(resolve))
      assert.equal(isSettled, false)
      if (dies) nowMs += 10_000
      else await services.store.confirmWill('default', 'c', due.id)
      await settled
      assert.deepEqual(texts(), dies ? ['w'] : [])
      await end(opened.epoch, 'discard')
      assert.equal(await leftOver(), 0)
    }
  })

  it('does not wait for others when the client has gone away', async () => {
    await end((await open('w')).epoch, 'fire')
    assert.equal((await services.store.sweep('other', nowMs, 1)).wills.length, 1)
    await wills.settle(await open('next'), client(false, false))
    assert.equal(await leftOver(), 1)
  })
})
