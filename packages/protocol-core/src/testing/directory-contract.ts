import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Directory, type DirectoryListener, RouteInterest } from '../ports/directory.ts'
import type { StoredSubscription, Subscription } from '../ports/subscription.ts'

/** A directory that has not been started, and how to get rid of it. */
export interface DirectoryUnderTest {
  directory: Directory
  dispose(): Promise<void>
}

/** Makes a directory of a cluster in which these subscriptions are stored already. */
export type MakeDirectory = (stored: StoredSubscription[]) => Promise<DirectoryUnderTest>

/** A listener that keeps what it is told, as lines and as the view they add up to. */
class RecordingListener implements DirectoryListener {
  readonly lines: string[] = []
  readonly stored = new Map<string, Subscription>()

  onRoute(nodeId: string, instance: string, topicFilter: string, interest: RouteInterest): void {
    this.lines.push(`route ${nodeId} ${instance} ${topicFilter} ${interest}`)
  }

  onStored(instance: string, clientId: string, subscription: Subscription): void {
    this.lines.push(`stored ${instance} ${clientId} ${subscription.topicFilter}`)
    this.stored.set(`${instance} ${clientId} ${subscription.topicFilter}`, subscription)
  }

  onStoredRemoved(instance: string, clientId: string, topicFilter: string): void {
    this.lines.push(`removed ${instance} ${clientId} ${topicFilter}`)
    this.stored.delete(`${instance} ${clientId} ${topicFilter}`)
  }

  onNodeGone(nodeId: string): void {
    this.lines.push(`gone ${nodeId}`)
  }

  onStoredReset(): void {
    this.lines.push('reset')
    this.stored.clear()
  }
}

function subscriptionOf(topicFilter: string, more: Partial<Subscription> = {}): Subscription {
  return {
    topicFilter,
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionId: 0,
    ...more,
  }
}

const FULL = subscriptionOf('$share/group/a/+/#', {
  qos: 2,
  noLocal: true,
  retainAsPublished: true,
  retainHandling: 2,
  subscriptionId: 268_435_455,
})
const ODD_NAMES = ['__proto__', 'constructor', '*', 'room[12]/+', '/', '', 'größe/家', '#', '$SYS/#', ' ']

type Start = (stored?: StoredSubscription[]) => Promise<{ directory: Directory; listener: RecordingListener }>

const promises: [name: string, check: (start: Start) => Promise<void>][] = [
  [
    'tells every stored subscription before it has started, with all options',
    async start => {
      const { directory, listener } = await start([
        { instance: 'one', clientId: 'client', subscription: FULL },
        { instance: 'two', clientId: 'client', subscription: subscriptionOf('b', { qos: 0 }) },
      ])
      assert.deepEqual([...listener.stored.entries()].sort(), [
        ['one client $share/group/a/+/#', FULL],
        ['two client b', subscriptionOf('b', { qos: 0 })],
      ])
      assert.equal(directory.inSync(), true)
    },
  ],
  [
    'tells a change of its own before the call returns',
    async start => {
      const { directory, listener } = await start()
      directory.addStored('one', 'client', FULL)
      assert.deepEqual(listener.stored.get('one client $share/group/a/+/#'), FULL)
      const replaced = { ...FULL, qos: 0 as const }
      directory.addStored('one', 'client', replaced)
      assert.deepEqual(listener.stored.get('one client $share/group/a/+/#'), replaced)
      directory.removeStored('one', 'client', FULL.topicFilter)
      assert.equal(listener.stored.size, 0)
    },
  ],
  [
    'does not tell a node its own routes',
    async start => {
      const { directory, listener } = await start()
      for (const interest of [RouteInterest.qos0, RouteInterest.all, RouteInterest.none]) {
        directory.setRoute('one', 'a/#', interest)
        assert.equal(await directory.settled(), true)
      }
      assert.deepEqual(listener.lines, [])
    },
  ],
  [
    'settles alone, with and without changes, and never undoes what it told',
    async start => {
      const { directory, listener } = await start()
      assert.equal(await directory.settled(), true)
      for (let i = 0; i < 200; i++) {
        directory.addStored('one', `client ${i % 10}`, subscriptionOf(`t/${i}`))
        if (i % 2 === 1) directory.removeStored('one', `client ${i % 10}`, `t/${i}`)
        if (i % 50 === 0) assert.equal(await directory.settled(), true)
      }
      const told = [...listener.lines]
      assert.equal(await directory.settled(), true)
      assert.deepEqual(listener.lines, told)
      assert.equal(told.length, 300)
      assert.equal(listener.stored.size, 100)
    },
  ],
  [
    'takes any name as a name',
    async start => {
      const preloaded = ODD_NAMES.map(name => ({
        instance: 'one',
        clientId: `before ${name}`,
        subscription: subscriptionOf(name),
      }))
      const { directory, listener } = await start(preloaded)
      for (const name of ODD_NAMES) {
        directory.addStored('one', name, subscriptionOf(name))
        directory.setRoute('one', name, RouteInterest.all)
      }
      assert.equal(await directory.settled(), true)
      assert.equal(listener.stored.size, 2 * ODD_NAMES.length)
      for (const name of ODD_NAMES) directory.removeStored('one', name, name)
      assert.equal(listener.stored.size, ODD_NAMES.length)
    },
  ],
  [
    'keeps instances apart',
    async start => {
      const { directory, listener } = await start()
      directory.addStored('one', 'client', subscriptionOf('a'))
      directory.addStored('two', 'client', subscriptionOf('a', { qos: 2 }))
      directory.removeStored('one', 'client', 'a')
      assert.deepEqual([...listener.stored.keys()], ['two client a'])
    },
  ],
]

/**
 * Declares the tests that every adapter of the `Directory` port has to pass on a node that is alone, as one suite of
 * `node:test`.
 *
 * @param name - of the adapter, shown with every test
 */
export function directoryContract(name: string, makeDirectory: MakeDirectory): void {
  describe(`directory contract: ${name}`, () => {
    for (const [promise, check] of promises) {
      test(promise, async t => {
        await check(async (stored = []) => {
          const { directory, dispose } = await makeDirectory(stored)
          t.after(dispose)
          const listener = new RecordingListener()
          await directory.start(listener)
          return { directory, listener }
        })
      })
    }
  })
}
