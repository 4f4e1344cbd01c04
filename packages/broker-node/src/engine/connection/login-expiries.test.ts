import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReasonCode } from '@midge/protocol-core'
import { poll, startBroker } from '../testing/test-broker.ts'
import { doorThat, letIn } from '../testing/test-door.ts'
import { LoginExpiries } from './login-expiries.ts'

test('what is due, and not what has gone or was given more time', () => {
  const expiries = new LoginExpiries<string>()
  assert.deepEqual(expiries.due(1e15), [])
  expiries.set('a', 1000)
  expiries.set('b', 1001)
  expiries.set('c', 5000)
  expiries.set('d', 1000)
  expiries.set('d', 9000)
  expiries.set('e', 1000)
  expiries.delete('e')
  expiries.delete('unknown')
  assert.deepEqual(expiries.due(999), [])
  assert.deepEqual(expiries.due(1000), ['a'])
  assert.deepEqual(expiries.due(2000), ['a', 'b'])
  assert.deepEqual(expiries.due(9000), ['a', 'b', 'c', 'd'])
})

test('a connection ends when its login expires, and is told so; others stay', async () => {
  const expiresAtMs = Date.now() + 100
  const door = doorThat(({ clientId }) => {
    const step = letIn({})
    assert.ok(step.kind === 'admitted')
    return clientId === 'short' ? { ...step, admitted: { ...step.admitted, expiresAtMs } } : step
  })
  const midge = await startBroker({ door })
  const [short, long] = [await midge.dial(5), await midge.dial(5)]
  await Promise.all([short.open({ clientId: 'short' }), long.open({ clientId: 'long' })])
  assert.equal((await short.expect(14)).body[0], ReasonCode.maximumConnectTime)
  assert.ok(Date.now() >= expiresAtMs)
  await short.closed()
  await poll(() => midge.counters.connectionsCurrent === 1, 'the other one to be left')
  await midge.stop()
})
