import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { conform, connectBytes, type Scene, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, type Packet, type Property, packet, Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage, type RawClient } from '../support/raw-client.ts'

useBroker()

const method = 'SCRAM-SHA-256'
const text = new TextDecoder()

/** The client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding. */
class Scram {
  private readonly password: string
  private readonly bare: string
  private serverSignature = ''
  constructor(user: string, password: string) {
    this.password = password
    this.bare = `n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${randomBytes(18).toString('base64')}`
  }
  first(): Uint8Array {
    return mqtt.bytes(`n,,${this.bare}`)
  }
  final(serverFirst: string): Uint8Array {
    const fields = new Map(serverFirst.split(',').map(f => [f[0], f.slice(2)]))
    const salt = Buffer.from(fields.get('s') ?? '', 'base64')
    const salted = pbkdf2Sync(this.password, salt, Number(fields.get('i')), 32, 'sha256')
    const sign = (key: Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest()
    const clientKey = sign(salted, 'Client Key')
    const withoutProof = `c=biws,r=${fields.get('r')}`
    const message = `${this.bare},${serverFirst},${withoutProof}`
    const signature = sign(createHash('sha256').update(clientKey).digest(), message)
    const proof = clientKey.map((b, i) => b ^ (signature[i] ?? 0))
    this.serverSignature = sign(sign(salted, 'Server Key'), message).toString('base64')
    return mqtt.bytes(`${withoutProof},p=${Buffer.from(proof).toString('base64')}`)
  }
  assertServer(serverFinal: string): void {
    assert.equal(serverFinal, `v=${this.serverSignature}`, 'the server knows the password as well')
  }
}

function value(p: Packet, id: number): mqtt.PropertyValue | undefined {
  return p.properties.find(q => q[0] === id)?.[1]
}

function data(p: Packet): string {
  const bytes = value(p, P.authData)
  assert.ok(bytes instanceof Uint8Array, 'Authentication Data')
  return text.decode(bytes)
}

function proof(bytes: Uint8Array): Property[] {
  return [
    [P.authMethod, method],
    [P.authData, bytes],
  ]
}

/** Opens a connection and sends CONNECT with the first SCRAM message; returns the challenge too. */
async function challenged(s: Scene, scram: Scram, more: Property[] = []): Promise<[RawClient, Packet]> {
  const client = await s.open()
  client.send(connectBytes(5, { properties: [...proof(scram.first()), ...more] }))
  const challenge = await client.expect(Type.AUTH)
  return [client, challenge]
}

/** A connection that was authenticated by SCRAM, with its CONNACK. */
async function authenticated(s: Scene): Promise<[RawClient, Packet]> {
  const scram = new Scram(s.broker.user, s.broker.password)
  const [client, challenge] = await challenged(s, scram)
  client.send(mqtt.auth(0x18, proof(scram.final(data(challenge)))))
  const connack = await client.expect(Type.CONNACK)
  assert.equal(connack.reason, 0)
  scram.assertServer(data(connack))
  return [client, connack]
}

conform(
  ['v3.1', 'v3.1.1', 'v5'],
  'the right password connects; a wrong one, or an unknown user, gets the code for it',
  async s => {
    const { user: username, password } = s.broker
    const client = await s.connect({ username, password })
    await client.expectSilence()
    for (const wrong of [
      { username, password: 'wrong' },
      { username: 'nobody', password },
      { username, password: '' },
      { username },
    ]) {
      await s.refusesConnect(connectBytes(s.v, wrong), s.v === 5 ? [0x86, 0x87] : [4, 5], 'must')
    }
  },
)

conform(['v5 MQTT-4.12.0-1'], 'an unknown authentication method is refused with 0x8C', async s => {
  for (const name of ['', 'PLAIN', 'SCRAM-SHA-1', 'scram-sha-256', '__proto__']) {
    await s.refusesConnect(connectBytes(5, { properties: [[P.authMethod, name]] }), [0x8c, 0x87], 'must')
  }
})

conform(
  ['v5 MQTT-4.12.0-2 MQTT-4.12.0-3 MQTT-4.12.0-5 MQTT-3.15.2-1 MQTT-3.2.0-1'],
  'SCRAM-SHA-256: AUTH 0x18 with the method, then CONNACK with the method and the proof of the server',
  async s => {
    const scram = new Scram(s.broker.user, s.broker.password)
    const [client, challenge] = await challenged(s, scram)
    assert.deepEqual([challenge.reason, value(challenge, P.authMethod)], [0x18, method])
    client.send(mqtt.auth(0x18, proof(scram.final(data(challenge)))))
    const connack = await client.expect(Type.CONNACK)
    assert.deepEqual([connack.reason, value(connack, P.authMethod)], [0, method])
    scram.assertServer(data(connack))
    await client.expectSilence()
  },
)

conform(
  ['v5 MQTT-4.12.0-4'],
  'a wrong password, an unknown user or nonsense ends the exchange with an error',
  async s => {
    const wrong = [new Scram(s.broker.user, 'wrong'), new Scram('nobody', s.broker.password)]
    for (const scram of wrong) {
      const [client, challenge] = await challenged(s, scram)
      client.send(mqtt.auth(0x18, proof(scram.final(data(challenge)))))
      await client.expectRefusal([0x86, 0x87], 'may')
    }
    for (const nonsense of ['', 'x', 'n,,', 'n,,n=,r=', 'p=tls,,n=a,r=b', 'y,,m=x,n=a,r=b']) {
      const bytes = connectBytes(5, { properties: proof(mqtt.bytes(nonsense)) })
      await s.refusesConnect(bytes, [0x80, 0x81, 0x82, 0x86, 0x87, 0x8c], 'may')
    }
    const [client] = await challenged(s, new Scram(s.broker.user, s.broker.password))
    client.send(mqtt.auth(0x18, proof(mqtt.bytes('c=biws,r=other,p=AAAA'))))
    await client.expectRefusal([0x80, 0x81, 0x82, 0x86, 0x87], 'may')
  },
)

conform(
  ['v5 MQTT-3.1.2-24'],
  'an AUTH or a CONNACK with proof that the client does not take is not sent: the CONNECT is refused',
  async s => {
    const [other] = await authenticated(s)
    for (const size of [20, 60, 80, 100, 120, 140]) {
      const scram = new Scram(s.broker.user, s.broker.password)
      const client = await s.open()
      const properties: Property[] = [...proof(scram.first()), [P.maximumPacketSize, size]]
      client.send(connectBytes(5, { properties }))
      const first = await client.next()
      assert.ok(first !== undefined && first.length <= size, `${first?.length} bytes of ${size}`)
      if (first.type !== Type.AUTH) {
        assert.equal(first.reason, 0x95)
        continue
      }
      client.send(mqtt.auth(0x18, proof(scram.final(data(first)))))
      const last = await client.expect(Type.CONNACK)
      assert.ok(last.length <= size, `${last.length} bytes of ${size}`)
      if (last.reason !== 0) assert.equal(last.reason, 0x95)
    }
    await other.expectSilence()
  },
)

conform(
  ['v5 MQTT-3.1.2-30 MQTT-3.1.4-6'],
  'while the exchange lasts, nothing but AUTH and DISCONNECT is processed',
  async s => {
    const topic = s.topic()
    const watcher = await s.connect()
    await watcher.subscribe(topic, 1)
    const others = [
      mqtt.publish(5, { topic, payload: 'early', qos: 1, packetId: 1 }),
      mqtt.subscribe(5, 1, [[topic, 0]]),
      mqtt.pingreq(),
    ]
    for (const bytes of others) {
      const [client] = await challenged(s, new Scram(s.broker.user, s.broker.password))
      client.send(bytes)
      await client.expectRefusal([0x81, 0x82], 'may')
    }
    await expectNoMessage(watcher)
    const [client] = await challenged(s, new Scram(s.broker.user, s.broker.password))
    client.send(mqtt.disconnect())
    assert.equal(await client.next(), undefined)
  },
)

conform(['v5 MQTT-4.12.0-5'], 'another method, or none, in AUTH during the exchange is refused', async s => {
  for (const properties of [[[P.authMethod, 'OTHER']], []] as Property[][]) {
    const [client] = await challenged(s, new Scram(s.broker.user, s.broker.password))
    client.send(mqtt.auth(0x18, properties))
    await client.expectRefusal([0x81, 0x82, 0x8c], 'may')
  }
})

conform(['v5 MQTT-4.12.0-6'], 'without a method the broker sends neither AUTH nor a method', async s => {
  const client = await s.connect({ username: s.broker.user, password: s.broker.password })
  assert.ok(client.connack)
  assert.equal(value(client.connack, P.authMethod), undefined)
  assert.equal(value(client.connack, P.authData), undefined)
  await client.expectSilence()
})

conform(['v5 MQTT-4.12.0-7'], 'AUTH from a client that did not name a method is refused', async s => {
  for (const reason of [0x00, 0x18, 0x19]) await s.refuses(mqtt.auth(reason, proof(mqtt.bytes('x'))), 0x82)
})

conform(['v5 MQTT-3.15.1-1'], 'AUTH with flags is refused', async s => {
  for (const first of [0xf1, 0xf2, 0xff]) await s.refuses(packet(first, [0x19, 0]), [0x81, 0x82])
})

conform(['v5 MQTT-3.15.2-1'], 'AUTH with another code, or 0x18 that nobody asked for, is refused', async s => {
  for (const reason of [0x00, 0x01, 0x18, 0x80, 0xff]) {
    const [client] = await authenticated(s)
    client.send(mqtt.auth(reason, proof(mqtt.bytes('x'))))
    await client.expectClose({ reason: [0x81, 0x82] })
  }
})

conform(['v5 MQTT-4.12.1-1 MQTT-3.15.2-1'], 'a client can authenticate again while messages flow', async s => {
  const topic = s.topic()
  const [client] = await authenticated(s)
  await client.subscribe(topic, 1)
  const publisher = await s.connect()
  for (let i = 0; i < 2; i++) {
    const scram = new Scram(s.broker.user, s.broker.password)
    client.send(mqtt.auth(0x19, proof(scram.first())))
    const challenge = await client.expect(Type.AUTH)
    assert.deepEqual([challenge.reason, value(challenge, P.authMethod)], [0x18, method])
    await publisher.publish(topic, `${i}`, { qos: 1 })
    assert.equal((await client.receive()).text, `${i}`)
    await client.expectSilence()
    client.send(mqtt.auth(0x18, proof(scram.final(data(challenge)))))
    const done = await client.expect(Type.AUTH)
    assert.deepEqual([done.reason, value(done, P.authMethod)], [0, method])
    scram.assertServer(data(done))
  }
  await client.expectSilence()
})

conform(['v5 MQTT-4.12.1-1'], 'authenticating again with another method is refused', async s => {
  const [client] = await authenticated(s)
  client.send(mqtt.auth(0x19, [[P.authMethod, 'OTHER']]))
  await client.expectClose({ reason: [0x82, 0x8c] })
})

conform(['v5 MQTT-4.12.1-2'], 'a client that fails to authenticate again is disconnected', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic)
  const [client] = await authenticated(s)
  const scram = new Scram(s.broker.user, 'wrong')
  client.send(mqtt.auth(0x19, proof(scram.first())))
  const challenge = await client.expect(Type.AUTH)
  client.send(mqtt.auth(0x18, proof(scram.final(data(challenge)))))
  await client.expectClose({ reason: 0x87 })
})

conform(
  ['v5 MQTT-3.15.2-2 MQTT-3.15.2-3'],
  'AUTH explains nothing to a client that takes only small packets',
  async s => {
    const scram = new Scram(s.broker.user, s.broker.password)
    const [, challenge] = await challenged(s, scram, [[P.maximumPacketSize, 256]])
    assert.ok(challenge.length <= 256, `${challenge.length} bytes`)
    assert.equal(value(challenge, P.reasonString), undefined)
    assert.equal(value(challenge, P.userProperty), undefined)
  },
)

conform(['v5'], 'an exchange that is left unfinished holds nothing', async s => {
  const half = await Promise.all(
    Array.from({ length: 5 }, () => challenged(s, new Scram(s.broker.user, s.broker.password))),
  )
  for (const [client] of half) client.drop()
  const [client] = await authenticated(s)
  await client.expectSilence()
})
