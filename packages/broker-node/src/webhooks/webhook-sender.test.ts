import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { Counters } from '../counters.ts'
import { AddressBook } from '../outbound/address-book.ts'
import { AddressGuard } from '../outbound/address-guard.ts'
import { HttpCaller } from '../outbound/http-caller.ts'
import type { Logger } from '../ports.ts'
import { BACKLOG_EVENTS_MAX, BATCH_EVENTS_MAX, BacklogRoom } from './backlog.ts'
import { WebhookServer } from './testing/webhook-server.ts'
import { type SenderTimings, WebhookSender } from './webhook-sender.ts'

const closers: (() => void)[] = []
after(() => {
  for (const close of closers) close()
})

const FAST: SenderTimings = {
  ...{ lingerMs: 5, timeoutMs: 2000, attemptsMax: 4, backOffMsMin: 5, backOffMsMax: 20, ageMsMax: 60_000 },
}
const silent = (): void => undefined
const logger: Logger = {
  ...{ trace: silent, debug: silent, info: silent, warn: silent, error: silent },
  isLevelEnabled: () => false,
  child: () => logger,
}

interface Setup {
  server: WebhookServer
  sender: WebhookSender
  counters: Counters
}

async function setUp(timings: Partial<SenderTimings> = {}, allow = ['127.0.0.1'], bytesMax = 1e9): Promise<Setup> {
  const server = await WebhookServer.start()
  const caller = new HttpCaller(new AddressBook(new AddressGuard(allow)))
  const counters = new Counters()
  const webhook = {
    ...{ id: 'w', name: 'w', isEnabled: true, url: server.url, secret: WebhookServer.secret, createdAtMs: 0 },
    events: ['message.published' as const],
  }
  const sender = new WebhookSender({
    ...{ instance: 'default', webhook, room: new BacklogRoom(bytesMax), timings: { ...FAST, ...timings }, counters },
    ...{ logger, call: call => caller.call(call), nowMs: () => Date.now() },
  })
  closers.push(() => {
    sender.stop()
    caller.close()
    server.stop()
  })
  return { server, sender, counters }
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!holds()) {
    if (Date.now() > deadline) throw new Error('it has not come true')
    await wait(5)
  }
}

function numbersOf(server: WebhookServer): unknown[] {
  return server.events.map(({ n }) => n)
}

test('events come signed, in batches, in order, over failures, by one request at a time', async () => {
  const { server, sender, counters } = await setUp()
  server.statuses.push(503, 429, 204, 500)
  const count = 3 * BATCH_EVENTS_MAX + 1
  for (let n = 0; n < count; n++) sender.push(JSON.stringify({ n }))
  await until(() => server.events.length === count)
  assert.deepEqual(
    numbersOf(server),
    Array.from({ length: count }, (_, n) => n),
  )
  assert.deepEqual([server.badCount, server.runningMax, server.heard.length], [0, 1, 4])
  await until(() => counters.webhookEventsDelivered === count)
  assert.equal(counters.webhookRequestsFailed, 3)
})

test('a batch that is refused, or never accepted, is given up, counted, and told of in the next', async () => {
  const { server, sender, counters } = await setUp()
  server.statuses.push(400)
  sender.push('{"n":1}')
  await until(() => counters.webhookEventsDropped.get('refused') === 1)
  server.statuses.push(500, 500, 500, 500)
  sender.push('{"n":2}')
  await until(() => counters.webhookEventsDropped.get('unreachable') === 1)
  assert.equal(server.requestCount, 5)
  sender.push('{"n":3}')
  await until(() => server.events.length === 1)
  assert.deepEqual(numbersOf(server), [3])
  assert.equal(server.heard[0]?.droppedCount, 2)
})

test('a server that hangs costs a bounded backlog and one request', async () => {
  const { server, sender, counters } = await setUp({ timeoutMs: 60_000 })
  server.hangs = true
  for (let n = 0; n < BACKLOG_EVENTS_MAX + 500; n++) sender.push(`{"n":${n}}`)
  assert.equal(counters.webhookEventsDropped.get('backlog_full'), 500)
  assert.equal(sender.takesMore(), false)
  assert.equal(counters.webhookEventsDropped.get('backlog_full'), 501)
  await until(() => server.requestCount === 1)
  sender.stop()
  assert.equal(counters.webhookEventsDropped.get('stopped'), BACKLOG_EVENTS_MAX)
})

test('all webhooks of a node share one bound of bytes', async () => {
  const { sender, counters } = await setUp({ lingerMs: 60_000 }, ['127.0.0.1'], 10)
  sender.push('{"n":1}')
  sender.push('{"n":2}')
  assert.equal(counters.webhookEventsDropped.get('backlog_full'), 1)
})

test('an event that has waited too long is not sent', async () => {
  const { server, sender, counters } = await setUp({ ageMsMax: 50, timeoutMs: 100 })
  server.hangs = true
  for (let n = 0; n < 2 * BATCH_EVENTS_MAX; n++) sender.push(`{"n":${n}}`)
  await until(() => counters.webhookEventsDropped.get('too_old') === BATCH_EVENTS_MAX)
  assert.equal(counters.webhookEventsDropped.get('unreachable'), BATCH_EVENTS_MAX)
})

test('a private address is not asked', async () => {
  const { server, sender, counters } = await setUp({}, [])
  sender.push('{"n":1}')
  await until(() => counters.webhookEventsDropped.get('refused') === 1)
  assert.equal(server.requestCount, 0)
})
