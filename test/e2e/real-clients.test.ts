import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import {
  type ClientOptions,
  connectClient,
  type MosquittoOptions,
  MosquittoSub,
  mosquittoPub,
  type TestClient,
} from '../support/clients.ts'
import { MidgeNode, watchNodes } from '../support/midge-node.ts'
import { makeCertificates, type TestCertificates } from '../support/tls.ts'
import { until } from '../support/until.ts'

const DEVICE = 'greenhouse-7'
const levels = [0, 1, 2] as const
const versions = [4, 5] as const
const schemes = ['mqtt', 'mqtts', 'ws', 'wss'] as const

let node: MidgeNode
let certificates: TestCertificates

before(async () => {
  certificates = await makeCertificates(DEVICE)
  node = await MidgeNode.start({
    withTls: true,
    withWebSocket: true,
    env: {
      MIDGE_AUTH_ANONYMOUS: 'false',
      MIDGE_LISTENERS_TLS_CERT_FILE: certificates.serverCertFile,
      MIDGE_LISTENERS_TLS_KEY_FILE: certificates.serverKeyFile,
      MIDGE_LISTENERS_TLS_CA_FILE: certificates.caFile,
      MIDGE_LISTENERS_TLS_CERT_CN_AS_USERNAME: 'true',
    },
  })
})
after(async () => {
  await node?.stop()
  await certificates?.remove()
})
watchNodes(() => [node])

/** Options of MQTT.js for one transport of the node. */
function reach(scheme: (typeof schemes)[number]): ClientOptions {
  const port = { mqtt: node.ports.tcp, mqtts: node.ports.tls, ws: node.ports.ws, wss: node.ports.wss }[scheme]
  const secure = scheme === 'mqtts' || scheme === 'wss'
  return { scheme, port, ...(secure ? { ca: [readFileSync(certificates.caFile)] } : {}) }
}

/** One message of each QoS and a larger one, there and back. */
async function carryEverything(publisher: TestClient, subscriber: TestClient, base: string): Promise<void> {
  const grants = await subscriber.subscribe(`${base}/#`, 2)
  assert.deepEqual(
    grants.map(grant => grant.qos),
    [2],
  )
  for (const qos of levels) await publisher.publish(`${base}/${qos}`, `at ${qos}`, qos)
  // Larger than a segment, a TLS record and a WebSocket frame of 64 KiB.
  const large = Buffer.alloc(200_000, 'x')
  await publisher.publish(`${base}/large`, large, 1)
  const got = await subscriber.untilReceived(4)
  assert.deepEqual(
    got.slice(0, 3).map(({ topic, text, qos, retain, dup }) => ({ topic, text, qos, retain, dup })),
    levels.map(qos => ({ topic: `${base}/${qos}`, text: `at ${qos}`, qos, retain: false, dup: false })),
  )
  assert.ok(got[3]?.payload.equals(large), 'the large payload arrives unchanged')
  assert.equal(got.length, 4)
}

describe('MQTT.js against one node', () => {
  for (const protocolVersion of versions) {
    for (const scheme of schemes) {
      it(`MQTT ${protocolVersion === 4 ? '3.1.1' : '5'} over ${scheme} carries QoS 0, 1 and 2, retained and will`, async () => {
        const base = `js/${protocolVersion}/${scheme}`
        const will = { topic: `${base}/will`, payload: Buffer.from('gone'), qos: 1 as const, retain: false }
        const publisher = await connectClient({ ...reach(scheme), protocolVersion, will })
        const subscriber = await connectClient({ ...reach(scheme), protocolVersion })
        await carryEverything(publisher, subscriber, `${base}/m`)

        await publisher.publish(`${base}/kept`, 'kept', 1, true)
        const late = await connectClient({ ...reach(scheme), protocolVersion })
        await late.subscribe(`${base}/+`, 1)
        const [kept] = await late.untilReceived(1)
        assert.deepEqual([kept?.topic, kept?.text, kept?.retain], [`${base}/kept`, 'kept', true])

        await publisher.drop()
        const [, gone] = await late.untilReceived(2)
        assert.deepEqual([gone?.topic, gone?.text, gone?.retain], [`${base}/will`, 'gone', false])
        await subscriber.publish(`${base}/kept`, '', 1, true)
        await late.end()
        await subscriber.end()
      })
    }
  }

  it('a wrong password is refused with the code of each version, over every transport', async () => {
    for (const scheme of schemes) {
      for (const [protocolVersion, code] of [[4, 5] as const, [5, 0x86] as const]) {
        const attempt = connectClient({ ...reach(scheme), protocolVersion, password: 'wrong' })
        await assert.rejects(attempt, (error: Error & { code?: number }) => {
          // 3.1.1 knows two codes for it: 4 "bad user name or password" and 5 "not authorized".
          const fits = protocolVersion === 4 ? error.code === 4 || error.code === 5 : error.code === code
          assert.ok(fits, `${scheme} ${protocolVersion}: code ${error.code} (${error.message})`)
          return true
        })
      }
    }
  })

  it('the Common Name of a client certificate is the user name, and no password is asked', async () => {
    const files = {
      cert: readFileSync(certificates.clientCertFile),
      key: readFileSync(certificates.clientKeyFile),
    }
    for (const protocolVersion of versions) {
      const device = await connectClient({ ...reach('mqtts'), ...files, anonymous: true, protocolVersion })
      await device.publish('device/hello', 'from the device', 1)
      await device.end()
    }
    const nobody = connectClient({ ...reach('mqtts'), anonymous: true })
    await assert.rejects(nobody, 'without certificate, user and password there is no entry')
    const stranger = {
      cert: readFileSync(certificates.strangerCertFile),
      key: readFileSync(certificates.strangerKeyFile),
    }
    const forged = connectClient({ ...reach('mqtts'), ...stranger, anonymous: true })
    await assert.rejects(forged, 'a certificate that the authority did not sign is worth nothing')
  })
})

describe('mosquitto_pub and mosquitto_sub against one node', () => {
  const reachTls = (): { host: string; port: number; caFile: string } => ({
    host: 'localhost',
    port: node.ports.tls,
    caFile: certificates.caFile,
  })
  for (const version of ['311', '5'] as const) {
    for (const transport of ['TCP', 'TLS'] as const) {
      it(`-V ${version} over ${transport} carries QoS 0, 1 and 2, retained and will`, async () => {
        const options: MosquittoOptions = {
          version,
          ...(transport === 'TCP' ? { port: node.ports.tcp } : reachTls()),
        }
        const base = `mosquitto/${version}/${transport}`
        const sub = new MosquittoSub(options, ['-t', `${base}/#`, '-q', '2'])
        await sub.untilSubscribed()
        for (const qos of levels)
          await mosquittoPub(options, ['-t', `${base}/${qos}`, '-q', `${qos}`, '-m', `at ${qos}`])
        await mosquittoPub(options, ['-t', `${base}/kept`, '-q', '1', '-r', '-m', 'kept'])
        assert.deepEqual(await sub.untilReceived(4), [
          ...levels.map(qos => ({ topic: `${base}/${qos}`, qos, retain: false, text: `at ${qos}` })),
          { topic: `${base}/kept`, qos: 1, retain: false, text: 'kept' },
        ])

        // `-C 1`: ends by itself after the retained message.
        const late = new MosquittoSub(options, ['-t', `${base}/kept`, '-q', '1', '-C', '1'])
        assert.equal((await late.end()).code, 0)
        assert.deepEqual(late.received, [{ topic: `${base}/kept`, qos: 1, retain: true, text: 'kept' }])

        const will = ['--will-topic', `${base}/will`, '--will-payload', 'gone', '--will-qos', '1']
        const doomed = new MosquittoSub(options, ['-t', `${base}/nothing`, ...will])
        await doomed.untilSubscribed()
        await doomed.program.kill9()
        assert.deepEqual((await sub.untilReceived(5))[4], {
          topic: `${base}/will`,
          qos: 1,
          retain: false,
          text: 'gone',
        })
        await sub.stop()
      })
    }

    it(`-V ${version} with a client certificate needs no password`, async () => {
      const { clientCertFile: certFile, clientKeyFile: keyFile } = certificates
      const options: MosquittoOptions = { version, anonymous: true, ...reachTls() }
      await mosquittoPub({ ...options, certFile, keyFile }, ['-t', 'device', '-m', 'hello', '-q', '1'])
      await assert.rejects(mosquittoPub(options, ['-t', 'device', '-m', 'hello', '-q', '1']))
    })
  }

  it('mosquitto_sub and MQTT.js of both versions hear each other', async () => {
    const sub = new MosquittoSub({ port: node.ports.tcp, version: '311' }, ['-t', 'mixed/js', '-q', '1'])
    await sub.untilSubscribed()
    const js = await connectClient({ ...reach('wss'), protocolVersion: 5 })
    await js.subscribe('mixed/mosquitto', 1)
    await js.publish('mixed/js', 'to mosquitto', 1)
    await mosquittoPub({ port: node.ports.tcp, version: '5' }, ['-t', 'mixed/mosquitto', '-q', '1', '-m', 'to js'])
    assert.deepEqual(
      (await sub.untilReceived(1)).map(message => message.text),
      ['to mosquitto'],
    )
    await js.untilReceived(1)
    assert.deepEqual(js.texts(), ['to js'])
    await js.end()
    await sub.stop()
  })
})

it('after all of this the node holds no connection', async () => {
  await until('every connection to be gone', async () => (await node.connections()) === 0)
})
