import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { BrokerError, EMPTY_BYTES, Message, type Qos, type StoredWill } from '@midge/protocol-core'
import { CONTRACT_LIMITS } from '@midge/protocol-core/testing'
import type { LocalStore } from './local-store.ts'
import { openLocalStore } from './open.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 0x7fff_ffff))
console.log(`replay.test seed ${seed}`)

const CLIENTS = ['a', 'b', 'c/d', '__proto__']
const OWNERS = [undefined, { username: 'anna', isKnown: true }, { username: undefined, isKnown: false }]
const GROUPS = ['$share/g/x', '$share/h/#']
const INSTANCE = 'default'

function randomFrom(start: number): (bound: number) => number {
  let state = start >>> 0 || 1
  return bound => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % bound
  }
}

function numbered(n: number, topicName: string, qos: Qos, expiresAtMs: number): Message {
  const topicBytes = Buffer.from(topicName)
  const payload = n % 7 === 0 ? EMPTY_BYTES : Buffer.from(String(n))
  const properties = n % 3 === 0 ? Uint8Array.of(1, 1) : EMPTY_BYTES
  return new Message({ topicName, topicBytes, payload, qos, retain: true, properties, expiresAtMs, publisherId: 'p' })
}

/** One store with the epochs it gave out; clock and calls are the same for both stores of a run. */
class Side {
  store: LocalStore
  readonly #epochs: Map<string, number> = new Map()
  readonly #wills: Map<string, string> = new Map()

  constructor(store: LocalStore) {
    this.store = store
  }

  /** @returns what the call answered, without what two stores may number differently */
  async step(action: number, pick: (bound: number) => number, n: number, nowMs: number): Promise<unknown> {
    const { store } = this
    const clientId = CLIENTS[pick(CLIENTS.length)] ?? ''
    const group = GROUPS[pick(GROUPS.length)] ?? ''
    const epoch = this.#epochs.get(clientId) ?? 0
    const seq = pick(40)
    const packetId = 1 + pick(5)
    switch (action) {
      case 0: {
        const qos = 1 + pick(2) === 1 ? 1 : 2
        const will: StoredWill = {
          message: numbered(n, 'will', qos, 0),
          willDelaySeconds: pick(8),
          messageExpirySeconds: pick(3) - 1,
          owner: OWNERS[pick(OWNERS.length)],
        }
        const request = {
          instance: INSTANCE,
          clientId,
          username: undefined,
          nodeId: `node-${pick(2)}`,
          nowMs,
          cleanStart: pick(6) === 0,
        }
        const opened = await store.open({ ...request, sessionExpirySeconds: pick(4) * 5, will })
        this.#epochs.set(clientId, opened.epoch)
        const { displacedWill, dueWills } = opened
        // A claim dies with the process that made it, so none may be open when one of the stores is restarted.
        for (const due of [...dueWills, ...(displacedWill ? [displacedWill] : [])]) {
          await store.confirmWill(INSTANCE, clientId, due.id)
        }
        const unnumbered = { epoch: 0, previous: opened.previous?.nodeId, dueWills: dueWills.map(due => due.will) }
        return { ...opened, ...unnumbered, displacedWill: displacedWill?.will }
      }
      case 1: {
        const request = { instance: INSTANCE, clientId, epoch, nowMs, sentSeq: seq, ackedAhead: [] }
        return store.close({ ...request, sessionExpirySeconds: pick(4) * 5, will: pick(2) === 0 ? 'fire' : 'discard' })
      }
      case 2: {
        const topicFilter = `f/${seq}`
        if (pick(2) === 0) return store.removeSubscriptions(INSTANCE, clientId, epoch, [topicFilter])
        const options = { qos: 1, noLocal: pick(2) === 0, retainAsPublished: false, retainHandling: 1 } as const
        return store.saveSubscriptions(INSTANCE, clientId, epoch, [{ topicFilter, ...options, subscriptionId: seq }])
      }
      case 3:
        return store.ackQueue(INSTANCE, clientId, epoch, seq)
      case 4:
        return store.releaseQueue(INSTANCE, clientId, epoch, [seq])
      case 5:
        return store.forgetInbound(INSTANCE, clientId, epoch, packetId)
      case 6:
        return store.takeGroup(INSTANCE, group, clientId, epoch, [packetId, packetId + 10])
      case 7:
        return store.ackGroup(INSTANCE, group, clientId, [seq])
      case 8:
        return store.releaseGroup(INSTANCE, group, clientId, [seq])
      case 9:
        return pick(4) === 0
          ? store.deleteGroup(INSTANCE, group)
          : store.returnToGroup(INSTANCE, group, clientId, false)
      case 10:
        return this.#sweep(nowMs)
      case 11:
        return store.reapNode(`node-${pick(2)}`, nowMs, 1_000)
      case 12: {
        const read = await store.readQueue(INSTANCE, clientId, epoch, seq, 10)
        return [read, await store.heldOfGroup(INSTANCE, group, clientId, epoch)]
      }
      case 13: {
        const { messages } = await store.matchRetained(INSTANCE, '#', undefined, 1_000)
        return messages.sort((a, b) => (a.topicName < b.topicName ? -1 : 1))
      }
      default:
        return store.commit([
          {
            instance: INSTANCE,
            message: numbered(n, `t/${seq}`, 2, pick(5) === 0 ? nowMs + pick(20_000) : 0),
            sessions: [{ clientId, qos: 2, retain: pick(2) === 0, subscriptionIds: pick(2) === 0 ? [n] : undefined }],
            groups: pick(3) === 0 ? [{ group, qos: 2 }] : [],
            retain: pick(2) === 0,
            inbound: pick(3) === 0 ? { clientId, epoch, packetId } : undefined,
          },
        ])
    }
  }

  async #sweep(nowMs: number): Promise<unknown> {
    const { wills, expired } = await this.store.sweep('node-0', nowMs, 1_000)
    for (const { id, clientId } of wills) {
      assert.equal(this.#wills.has(`${id} ${nowMs}`), false)
      this.#wills.set(`${id} ${nowMs}`, clientId)
      await this.store.confirmWill(INSTANCE, clientId, id)
    }
    return { wills: wills.map(due => ({ ...due, id: '' })), expired }
  }
}

/**
 * Plain values that compare as text. Lists without an order of their own are sorted: only what has a sequence number,
 * and bytes, come in an order that was promised.
 */
function canonical(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${[...value].join(' ')}`
  if (value === undefined || value === null || typeof value !== 'object') return value
  if (!Array.isArray(value)) {
    const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return fields.map(([name, field]) => [name, canonical(field)])
  }
  const items = value.map(canonical)
  const hasOrder = value.some(
    item => typeof item === 'object' && item !== null && ('seq' in item || Array.isArray(item)),
  )
  return hasOrder ? items : items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
}

/** Answers and refusals alike. */
async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    return JSON.stringify(canonical(await call)) ?? 'nothing'
  } catch (error) {
    if (error instanceof BrokerError) return error.code
    throw error
  }
}

test(`a store that is restarted all the time answers like one that never is, seed ${seed}`, async t => {
  const dataDir = await mkdtemp(join(tmpdir(), 'midge-replay-'))
  t.after(() => rm(dataDir, { recursive: true }))
  let nowMs = 1_700_000_000_000
  const open = (durability: 'memory' | 'everysec'): Promise<LocalStore> =>
    openLocalStore({ dataDir, durability, limits: CONTRACT_LIMITS, now: () => nowMs })
  const lasting = new Side(await open('memory'))
  const restarted = new Side(await open('everysec'))
  t.after(() => restarted.store.stop())
  const random = randomFrom(seed)
  const answers = new Set<number>()
  for (let n = 1; n <= 3_000; n++) {
    if (random(5) === 0) nowMs += random(2_000)
    const action = random(18)
    const picks = random(0x7fff_ffff)
    const expected = await outcome(lasting.step(action, randomFrom(picks), n, nowMs))
    assert.equal(
      await outcome(restarted.step(action, randomFrom(picks), n, nowMs)),
      expected,
      `step ${n}, action ${action}`,
    )
    if (expected !== 'MIDGE_SESSION_FENCED') answers.add(Math.min(action, 14))
    if (random(40) !== 0) continue
    await restarted.store.stop()
    restarted.store = await open('everysec')
  }
  assert.equal(answers.size, 15, 'every kind of call took effect at least once')
})
