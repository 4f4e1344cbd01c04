import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PublishRun, RouteInterest } from '@midge/protocol-core'
import { deliverFrames, deliverRun } from '../delivery/deliver.ts'
import { Router } from '../routing/router.ts'
import { subscription, testMessage } from '../testing/test-services.ts'
import { ProgramSubscriber } from './program-subscriber.ts'

const EVERYTHING = subscription('t/#', { qos: 2, retainAsPublished: true })

test('a program hears every message as it was published, and runs message by message', () => {
  const router = new Router()
  const heard: string[] = []
  const subscriber = new ProgramSubscriber(({ topicName, payload, qos, retain }) => {
    heard.push(`${topicName} ${Buffer.from(payload).toString()} ${qos} ${retain}`)
  })
  router.addSubscriber(subscriber, EVERYTHING)
  for (const qos of [0, 1, 2] as const) {
    deliverFrames(testMessage('t/1', `${qos}`, { qos, retain: qos === 2 }), router.match('t/1'), Date.now)
  }
  const frame = Buffer.from([0x30, 6, 0, 3, ...Buffer.from('t/2x')])
  const bytes = Buffer.concat([frame, frame])
  const run = new PublishRun({
    ...{ topicName: 't/2', topicBytes: Buffer.from('t/2'), publisherId: 'c', isV5: false },
    ...{ bytes, start: 0, end: bytes.length, count: 2 },
  })
  deliverRun(run, router.match('t/2'))
  assert.deepEqual(heard, ['t/1 0 0 false', 't/1 1 1 false', 't/1 2 2 true', 't/2 x 0 false', 't/2 x 0 false'])
})

test('other nodes are asked for every message of its filter, and for none when it is gone', () => {
  const router = new Router()
  const subscriber = new ProgramSubscriber(() => assert.fail('nothing was published'))
  router.addSubscriber(subscriber, EVERYTHING)
  assert.equal(router.interestIn('t/#'), RouteInterest.all)
  router.removeSubscriber(subscriber, 't/#')
  assert.equal(router.interestIn('t/#'), RouteInterest.none)
  assert.equal(router.match('t/1').isEmpty, true)
})
