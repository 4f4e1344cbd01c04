import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { connectClient, type Received, type TestClient } from '../support/clients.ts'
import { MidgeNode, watchNodes } from '../support/midge-node.ts'
import { type BridgeVersion, MosquittoBridge } from '../support/mosquitto-bridge.ts'
import { numbered } from '../support/sessions.ts'

const levels = [0, 1, 2] as const
const versions: readonly BridgeVersion[] = [undefined, 'mqttv31', 'mqttv311', 'mqttv50']

let node: MidgeNode
before(async () => {
  node = await MidgeNode.start({ env: { MIDGE_AUTH_ANONYMOUS: 'false' } })
})
after(() => node?.stop())
watchNodes(() => [node])

/** Without what the brokers say about themselves. */
function messages(client: TestClient): Received[] {
  return client.received.filter(message => !message.topic.startsWith('$SYS/'))
}

/** Waits for the message with this text, which is the last of its publisher. */
async function untilText(client: TestClient, text: string): Promise<void> {
  while (!client.texts().includes(text)) await client.untilReceived(client.received.length + 1)
}

/** Mosquitto takes no more than 20 at a time from its own clients (`max_inflight_messages`). */
async function publishInTurn(client: TestClient, topic: string, texts: readonly string[], qos: 1 | 2): Promise<void> {
  for (let at = 0; at < texts.length; at += 20) await client.publishAll(topic, texts.slice(at, at + 20), qos)
}

for (const version of versions) {
  describe(`a Mosquitto bridge with ${version ?? 'the default'} as its version, everything else at its defaults`, () => {
    let bridge: MosquittoBridge
    let near: TestClient
    let far: TestClient
    const base = `bridge/${version}`

    before(async () => {
      near = await connectClient({ port: node.port, protocolVersion: 5 })
      await near.subscribe([`${base}/#`, '$SYS/broker/connection/+/state'], 2)
      bridge = await MosquittoBridge.start({ port: node.port, version })
      await bridge.untilBridged()
      far = await bridge.connect()
      await far.subscribe(`${base}/#`, 2)
    })
    after(async () => {
      await near?.end()
      await far?.end()
      await bridge?.stop()
    })

    it('connects once and says so in its topic under $SYS', async () => {
      const topic = `$SYS/broker/connection/${bridge.name}/state`
      await untilText(near, '1')
      const states = near.received.filter(message => message.topic === topic)
      assert.equal(states.at(-1)?.text, '1')
      assert.equal(bridge.connects, 1, bridge.tail())
    })

    it('carries every QoS once in both directions, without a loop', async () => {
      for (const qos of levels) {
        await near.publish(`${base}/near`, `near ${qos}`, qos)
        await untilText(far, `near ${qos}`)
        await far.publish(`${base}/far`, `far ${qos}`, qos)
        await untilText(near, `far ${qos}`)
      }
      // A copy that came back would be before these.
      await near.publish(`${base}/near`, 'last of near', 2)
      await far.publish(`${base}/far`, 'last of far', 2)
      for (const client of [near, far]) {
        for (const who of ['near', 'far']) await untilText(client, `last of ${who}`)
      }
      const wanted = (who: string): string[] => [...levels.map(qos => `${who} ${qos}`), `last of ${who}`]
      for (const client of [near, far]) {
        for (const who of ['near', 'far']) {
          const own = messages(client).filter(message => message.topic === `${base}/${who}`)
          assert.deepEqual(
            own.map(message => message.text),
            wanted(who),
          )
        }
      }
    })

    it('keeps RETAIN in both directions', async () => {
      await near.publish(`${base}/kept/near`, 'kept near', 1, true)
      await far.publish(`${base}/kept/far`, 'kept far', 1, true)
      await untilText(far, 'kept near')
      await untilText(near, 'kept far')
      for (const reach of [() => connectClient({ port: node.port }), () => bridge.connect()]) {
        const late = await reach()
        await late.subscribe(`${base}/kept/#`, 1)
        const got = await late.untilReceived(2)
        assert.deepEqual(got.map(message => [message.text, message.retain]).sort(), [
          ['kept far', true],
          ['kept near', true],
        ])
        await late.end()
      }
      await near.publish(`${base}/kept/near`, '', 1, true)
      await far.publish(`${base}/kept/far`, '', 1, true)
    })

    for (const qos of [1, 2] as const) {
      it(`carries 500 messages at QoS ${qos} that are there at once, in their order, in both directions`, async () => {
        const texts = numbered(500)
        const [nearTopic, farTopic] = [`${base}/burst/near/${qos}`, `${base}/burst/far/${qos}`]
        await Promise.all([near.publishAll(nearTopic, texts, qos), publishInTurn(far, farTopic, texts, qos)])
        await near.publish(nearTopic, `end ${qos}`, qos)
        await far.publish(farTopic, `end ${qos}`, qos)
        for (const [client, topic] of [
          [far, nearTopic],
          [near, farTopic],
        ] as const) {
          const seen = (): string[] => client.received.filter(m => m.topic === topic).map(m => m.text)
          while (seen().at(-1) !== `end ${qos}`) await client.untilReceived(client.received.length + 1)
          assert.deepEqual(seen(), [...texts, `end ${qos}`])
        }
        assert.equal(bridge.connects, 1, bridge.tail())
      })
    }
  })
}
