import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { BrokerError, EMPTY_BYTES, type ErrorCode, Message } from '@midge/protocol-core'
import { CONTRACT_LIMITS } from '@midge/protocol-core/testing'
import type { Durability } from '../config/schema.ts'
import type { Journal, JournalRecord } from './journal.ts'
import { LevelJournal } from './level-journal.ts'
import { LocalStore } from './local-store.ts'
import { openLocalStore } from './open.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 0x7fff_ffff))
console.log(`embedded.test seed ${seed}`)

const KILL_FIXTURE = fileURLToPath(new URL('./kill-9.test.fixture.js', import.meta.url))
const DEADLINE_MS = 20_000
const NOTHING = { sessions: [], groups: [], retain: false, inbound: undefined }

async function directory(t: TestContext): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'midge-embedded-'))
  t.after(() => rm(dataDir, { recursive: true, force: true }))
  return dataDir
}

function open(dataDir: string, durability: Durability = 'everysec'): Promise<LocalStore> {
  return openLocalStore({ dataDir, durability, limits: CONTRACT_LIMITS })
}

function retained(topicName: string, payload: string): Message {
  const encoder = new TextEncoder()
  return new Message({
    topicName,
    topicBytes: encoder.encode(topicName),
    payload: encoder.encode(payload),
    qos: 1,
    retain: true,
    properties: EMPTY_BYTES,
    expiresAtMs: 0,
    publisherId: '',
  })
}

async function retain(store: LocalStore, topicName: string): Promise<void> {
  await store.commit([{ ...NOTHING, instance: 'default', message: retained(topicName, topicName), retain: true }])
}

async function topics(store: LocalStore): Promise<string[]> {
  const { messages } = await store.matchRetained('default', '#', undefined, 1_000)
  return messages.map(message => message.topicName).sort()
}

function hasCode(code: ErrorCode, words: RegExp): (error: unknown) => boolean {
  return error => {
    assert.ok(error instanceof BrokerError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, words)
    return true
  }
}

/** Runs the fixture until it has printed `count` lines, kills it, and returns every number it printed. */
async function printedBeforeKill(dataDir: string, durability: Durability, count: number): Promise<number[]> {
  const child = spawn(process.execPath, [KILL_FIXTURE, dataDir, durability], { stdio: ['ignore', 'pipe', 'inherit'] })
  const deadline = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS)
  let output = ''
  let lines = 0
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk
    lines += chunk.split('\n').length - 1
    if (lines >= count) child.kill('SIGKILL')
  })
  const [, signal] = await once(child, 'close')
  clearTimeout(deadline)
  assert.equal(signal, 'SIGKILL')
  assert.ok(lines >= count, `the process printed ${lines} of ${count} lines in time`)
  // The last line may be cut off: then it was not printed.
  return output.slice(0, output.lastIndexOf('\n')).split('\n').map(Number)
}

for (const durability of ['everysec', 'fsync'] as const) {
  test(`${durability}: kill -9 loses nothing that was acknowledged, seed ${seed}`, async t => {
    const dataDir = await directory(t)
    const count = durability === 'fsync' ? 30 + (seed % 300) : 300 + (seed % 6_000)
    const printed = await printedBeforeKill(dataDir, durability, count)
    const store = await open(dataDir, durability)
    t.after(() => store.stop())
    const nowMs = Date.now()
    assert.equal(await store.recover(nowMs), 1)
    const { wills } = await store.sweep('node', nowMs, 10)
    assert.deepEqual(
      wills.map(will => will.clientId),
      ['subscriber'],
    )
    const request = {
      instance: 'default',
      clientId: 'subscriber',
      username: undefined,
      nodeId: 'node',
      cleanStart: false,
      nowMs,
    }
    const opened = await store.open({ ...request, sessionExpirySeconds: 10, will: undefined })
    assert.deepEqual(
      opened.subscriptions.map(({ topicFilter, subscriptionId }) => [topicFilter, subscriptionId]),
      [['count/+', 7]],
    )
    const kept: number[] = []
    for (let from = 1; ; ) {
      const page = await store.readQueue('default', 'subscriber', opened.epoch, from, 1_000)
      const last = page.at(-1)
      if (last === undefined) break
      kept.push(...page.map(({ message }) => Number(Buffer.from(message.payload).toString())))
      from = last.seq + 1
    }
    // The numbers were committed in ascending order: without a hole and in order means 1, 2, 3, …
    assert.deepEqual(
      kept,
      kept.map((_, i) => i + 1),
    )
    assert.ok(kept.length >= Math.max(...printed), `${kept.length} kept, ${Math.max(...printed)} acknowledged`)
    assert.equal(opened.tailSeq, kept.length)
    // Each batch is whole or absent, queue and retained messages alike.
    const newest = (await store.matchRetained('default', 'count/#', undefined, 100)).messages
    const payloads = newest.map(({ payload }) => Number(Buffer.from(payload).toString())).sort((a, b) => a - b)
    assert.deepEqual(payloads, kept.slice(-10))
  })
}

test('a second process on the same directory is told which directory and what to do', async t => {
  const dataDir = await directory(t)
  const first = await open(dataDir)
  await assert.rejects(open(dataDir), hasCode('MIDGE_STORE_UNAVAILABLE', /in use by another process.*MIDGE_DATA_DIR/))
  await assert.rejects(open(dataDir), hasCode('MIDGE_STORE_UNAVAILABLE', new RegExp(dataDir)))
  await retain(first, 'still/works')
  await first.stop()
  const second = await open(dataDir)
  t.after(() => second.stop())
  assert.deepEqual(await topics(second), ['still/works'])
})

test('a write that was torn by a power cut costs that write alone', async t => {
  const dataDir = await directory(t)
  const store = await open(dataDir)
  for (const topicName of ['first', 'second', 'last']) await retain(store, topicName)
  // Taken before `stop`, so that the log ends with the last message and not with a sync.
  const log =
    (await readdir(dataDir))
      .filter(name => name.endsWith('.log'))
      .sort()
      .at(-1) ?? ''
  const { size } = await stat(join(dataDir, log))
  await store.stop()
  await truncate(join(dataDir, log), size - 3)
  const reopened = await open(dataDir)
  t.after(() => reopened.stop())
  assert.deepEqual(await topics(reopened), ['first', 'second'])
  await retain(reopened, 'third')
  assert.deepEqual(await topics(reopened), ['first', 'second', 'third'])
})

test('a directory that cannot be made is a configuration error that names it', async t => {
  const dataDir = await directory(t)
  const file = join(dataDir, 'file')
  await writeFile(file, '')
  await assert.rejects(open(join(file, 'below')), hasCode('MIDGE_CONFIG_INVALID', /file\/below/))
})

test('durability "replicated" is refused, with what there is instead', async t => {
  const dataDir = await directory(t)
  await assert.rejects(open(dataDir, 'replicated'), hasCode('MIDGE_CONFIG_INVALID', /Redis.*everysec/))
  assert.deepEqual(await readdir(dataDir), [])
})

test('durability "memory" leaves the directory alone', async t => {
  const dataDir = await directory(t)
  const store = await open(join(dataDir, 'none'), 'memory')
  await retain(store, 't')
  assert.deepEqual(await topics(store), ['t'])
  await store.stop()
  assert.deepEqual(await readdir(dataDir), [])
})

test('a store of another format is refused before anything is read', async t => {
  const dataDir = await directory(t)
  await (await open(dataDir)).stop()
  const journal = await LevelJournal.open(dataDir, 'everysec')
  journal.put(Uint8Array.of(0x01), Uint8Array.of(99))
  await journal.stop()
  await assert.rejects(open(dataDir), hasCode('MIDGE_STORE_CORRUPT', /format 99/))
  // The refusal has let go of the lock.
  await assert.rejects(open(dataDir), hasCode('MIDGE_STORE_CORRUPT', /format 99/))
})

test('a database that is not a Midge store is refused', async t => {
  const dataDir = await directory(t)
  const journal = await LevelJournal.open(dataDir, 'everysec')
  journal.put(Uint8Array.of(0x61), Uint8Array.of(0x62))
  await journal.stop()
  await assert.rejects(open(dataDir), hasCode('MIDGE_STORE_CORRUPT', /no Midge store/))
})

/** A journal whose writes can be made to fail. */
class FailingJournal implements Journal {
  readonly keeps = true
  writesUntilFailure: number = Number.POSITIVE_INFINITY
  #failure: Error | undefined

  put(): void {}

  delete(): void {}

  flushed(): Promise<void> {
    this.writesUntilFailure--
    if (this.writesUntilFailure < 0) this.#failure ??= new BrokerError('MIDGE_STORE_UNAVAILABLE', 'disk full')
    return this.#failure === undefined ? Promise.resolve() : Promise.reject(this.#failure)
  }

  failure(): Error | undefined {
    return this.#failure
  }

  async *records(): AsyncIterable<JournalRecord[]> {}

  stop(): Promise<void> {
    return Promise.resolve()
  }
}

test('after a failed write every call is refused: memory does not run ahead of the disk', async () => {
  const journal = new FailingJournal()
  const store = new LocalStore({ journal, limits: CONTRACT_LIMITS })
  await store.load()
  await retain(store, 'kept')
  await store.ping()
  journal.writesUntilFailure = 0
  const isDown = hasCode('MIDGE_STORE_UNAVAILABLE', /disk full/)
  await assert.rejects(retain(store, 'lost'), isDown)
  await assert.rejects(store.ping(), isDown)
  await assert.rejects(retain(store, 'refused'), isDown)
  await assert.rejects(topics(store), isDown)
  const request = { instance: 'default', clientId: 'c', username: undefined, nodeId: 'n', cleanStart: true, nowMs: 1 }
  await assert.rejects(store.open({ ...request, sessionExpirySeconds: 0, will: undefined }), isDown)
  await assert.rejects(store.sweep('n', 1, 1), isDown)
})

test('a stopped store refuses calls, and may be stopped again', async t => {
  const dataDir = await directory(t)
  const store = await open(dataDir)
  // Not awaited: stop writes out what is on its way.
  const written = retain(store, 'on its way')
  await store.stop()
  await written
  await store.stop()
  await assert.rejects(store.ping(), hasCode('MIDGE_STORE_UNAVAILABLE', /stopped/))
  const reopened = await open(dataDir)
  t.after(() => reopened.stop())
  assert.deepEqual(await topics(reopened), ['on its way'])
})

test('reading back tells its progress when it takes longer than 2 s', async t => {
  const dataDir = await directory(t)
  const store = await open(dataDir)
  await retain(store, 't')
  await store.stop()
  // A clock that runs 3 s further with every look.
  let nowMs = 0
  const told: number[] = []
  const slow = await openLocalStore({
    dataDir,
    durability: 'everysec',
    limits: CONTRACT_LIMITS,
    now: () => {
      nowMs += 3_000
      return nowMs
    },
    onProgress: progress => told.push(progress.recordCount),
  })
  t.after(() => slow.stop())
  assert.ok(told.length > 0 && told.every(count => count > 0))
})
