import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ReasonCode } from '@midge/protocol-core'
import { connectPacket, DISCONNECT, PINGREQ, publishPacket, type RawClient } from '../testing/raw-client.ts'
import { poll, startBroker, type TestBroker } from '../testing/test-broker.ts'
import { doorThat, letIn } from '../testing/test-door.ts'

const HOUR = [0x11, 0, 0, 0x0e, 0x10]
let midge: TestBroker

before(async () => {
  midge = await startBroker({ door: doorThat(({ username }) => letIn({ username })) })
})
after(() => midge.stop())

interface Who {
  username?: string
  clean?: boolean
  version?: 3 | 4 | 5
}

/** @returns the client, and the code of its CONNACK */
async function connect(clientId: string, { username, clean = false, version = 5 }: Who): Promise<[RawClient, number]> {
  const client = await midge.dial(version)
  const login = username === undefined ? {} : { username, password: 'x' }
  const properties = version === 5 ? HOUR : []
  return [client, await client.open({ clientId, version, clean, properties, ...login })]
}

for (const [version, code] of [
  [5, ReasonCode.clientIdentifierNotValid],
  [4, 2],
  [3, 2],
] as const) {
  test(`version ${version}: a client id that another user has is refused, and that user notices nothing`, async () => {
    const clientId = `phone-${version}`
    const [owner] = await connect(clientId, { username: 'anna', version })
    await owner.subscribe([{ filter: 'a' }])
    for (const clean of [false, true]) {
      for (const username of ['bert', undefined]) {
        const [intruder, answer] = await connect(clientId, { ...(username && { username }), clean, version })
        assert.equal(answer, code)
        await intruder.closed()
      }
    }
    owner.send(publishPacket('a', 'x', { version }))
    assert.equal((await owner.delivery()).topic, 'a')
    owner.send(DISCONNECT)
    await owner.closed()
    // While it is stored as well.
    assert.equal((await connect(clientId, { username: 'bert', clean: true, version }))[1], code)
    const [again, answer] = await connect(clientId, { username: 'anna', version })
    assert.equal(answer, 0)
    again.stream.destroy()
  })
}

test('the text says what is wrong, and the will of the refused is not published', async () => {
  const [owner] = await connect('text', { username: 'anna' })
  await owner.subscribe([{ filter: 'will' }])
  const intruder = await midge.dial(5)
  const will = { topic: 'will', payload: 'x' }
  intruder.send(connectPacket({ clientId: 'text', username: 'bert', password: 'x', will }))
  assert.match((await intruder.expect(2)).body.toString('latin1'), /belongs to another user/)
  await intruder.closed()
  owner.send(PINGREQ)
  await owner.expect(13)
  assert.deepEqual(owner.deliveries(), [])
})

test('a client id is free again when its session has ended with the connection', async () => {
  const [first] = await connect('short', { username: 'anna', clean: true, version: 4 })
  first.stream.destroy()
  await poll(() => midge.broker.core.sessions.isSettled && midge.counters.connectionsCurrent <= 1, 'the session to end')
  const [, answer] = await connect('short', { username: 'bert', clean: true, version: 4 })
  assert.equal(answer, 0)
})

test('a client without a name has its client id like any other', async () => {
  const [owner] = await connect('nameless', {})
  assert.equal((await connect('nameless', { username: 'anna' }))[1], ReasonCode.clientIdentifierNotValid)
  assert.equal((await connect('nameless', {}))[1], 0)
  await owner.closed()
})
