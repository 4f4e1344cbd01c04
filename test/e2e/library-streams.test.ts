import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo, Server } from 'node:net'
import { after, before, describe, it, type TestContext } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { createBroker, type MidgeBroker } from '@midge/broker-node'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { connectClient } from '../support/clients.ts'
import { makeCertificates, type TestCertificates } from '../support/tls.ts'

let certificates: TestCertificates
before(async () => {
  certificates = await makeCertificates()
})
after(() => certificates.remove())

/** Listens until the test ends; the broker goes first, since a server waits for its connections. */
async function open(t: TestContext, broker: MidgeBroker, server: Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => broker.stop())
  t.after(() => new Promise<void>(resolve => server.close(() => resolve())))
  // A TCP server that listens has this kind of address.
  return (server.address() as AddressInfo).port
}

describe('handle() takes the streams of', () => {
  it('node:tls', async t => {
    const broker = await createBroker({ memory: true })
    const key = readFileSync(certificates.serverKeyFile)
    const cert = readFileSync(certificates.serverCertFile)
    const port = await open(t, broker, createTlsServer({ key, cert }, broker.handle))
    const client = await connectClient({
      port,
      scheme: 'mqtts',
      anonymous: true,
      ca: [readFileSync(certificates.caFile)],
    })
    await client.subscribe('t', 1)
    await client.publish('t', 'over TLS', 1)
    assert.equal((await client.untilReceived(1))[0]?.text, 'over TLS')
  })

  it('ws, with the upgrade request as client.req', async t => {
    const seen: unknown[] = []
    const broker = await createBroker({
      memory: true,
      authenticate: (client, _username, _password, done) => {
        seen.push(client.req?.url, client.req?.headers['x-tenant'])
        done(null, true)
      },
    })
    const http = createHttpServer()
    const webSockets = new WebSocketServer({ server: http })
    webSockets.on('connection', (socket, request) => broker.handle(createWebSocketStream(socket), request))
    const port = await open(t, broker, http)
    const client = await connectClient({
      port,
      scheme: 'ws',
      anonymous: true,
      wsOptions: { headers: { 'x-tenant': 'seven' } },
    })
    await client.subscribe('t', 2)
    await client.publish('t', 'x'.repeat(100_000), 2)
    assert.equal((await client.untilReceived(1))[0]?.text.length, 100_000)
    assert.deepEqual(seen, ['/mqtt', 'seven'])
  })
})
