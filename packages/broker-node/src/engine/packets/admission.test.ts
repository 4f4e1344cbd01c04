import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReasonCode } from '@midge/protocol-core'
import type { AdmissionStep, Door, LoginRequest } from '../../ports.ts'
import { connectPacket, PINGREQ } from '../testing/raw-client.ts'
import { Gate, poll, startBroker } from '../testing/test-broker.ts'
import { doorThat, letIn, turnAway } from '../testing/test-door.ts'

/** A door that opens when the test says so. */
class SlowDoor {
  readonly requests: LoginRequest[] = []
  readonly answer = new Gate<AdmissionStep>()
  readonly door: Door = doorThat(request => {
    this.requests.push(request)
    return this.answer.passed
  })

  /** The one request that has come. */
  async request(): Promise<LoginRequest> {
    await poll(() => this.requests.length > 0, 'a request')
    const [request] = this.requests
    assert.ok(request)
    return request
  }
}

test('the door hears everything that CONNECT says, before anything is bound to an instance', async t => {
  const slow = new SlowDoor()
  const node = await startBroker({ door: slow.door })
  t.after(() => node.stop())
  const client = await node.dial()
  client.send(connectPacket({ clientId: '', username: 'u', password: 'p' }))
  const { info, clientId, username, password, method, caller } = await slow.request()
  assert.equal(info.remoteAddress, '127.0.0.1')
  assert.match(clientId, /^midge-/)
  assert.deepEqual([username, Buffer.from(password ?? []).toString(), method], ['u', 'p', undefined])
  assert.equal(caller.isGone, false)
  assert.equal(node.counters.sessionsCurrent, 0)
  slow.answer.open(letIn({ instance: 'somewhere' }))
  const { body } = await client.expect(2)
  assert.equal(body[1], 0)
  assert.ok(body.includes(clientId), 'the id it was told is the one the door was asked about')
  assert.ok(node.broker.core.sessions.sessionOf('somewhere', clientId))
})

test('a client that goes away while it waits is noticed, and leaves nothing', async t => {
  for (const leave of ['destroy', 'end'] as const) {
    const slow = new SlowDoor()
    const node = await startBroker({ door: slow.door })
    t.after(() => node.stop())
    const client = await node.dial()
    client.send(connectPacket({ clientId: 'c' }))
    const { caller } = await slow.request()
    client.stream[leave]()
    await poll(() => caller.isGone, `the door to see that the client is gone (${leave})`)
    slow.answer.open(turnAway(ReasonCode.serverBusy))
    await poll(() => node.counters.connectionsCurrent === 0, 'the end of the connection')
    assert.equal(node.counters.sessionsCurrent, 0)
  }
})

test('what a client sends ahead of its answer is not read on, and handled in order after it', async t => {
  const slow = new SlowDoor()
  const node = await startBroker({ door: slow.door })
  t.after(() => node.stop())
  const client = await node.dial()
  const pings = 500_000
  client.send(connectPacket({ clientId: 'c' }), Buffer.alloc(pings * 2, PINGREQ))
  await slow.request()
  await new Promise(resolve => setImmediate(resolve))
  assert.ok(node.counters.bytesReceived < 256 * 1024, `${node.counters.bytesReceived} bytes were read`)
  slow.answer.open(letIn({ instance: 'somewhere' }))
  await client.until(() => client.frames.length === pings + 1)
})
