import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { connect as connectPlain } from 'node:net'
import { after, before, test } from 'node:test'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { BrokerError } from '@midge/protocol-core'
import type { ListenerOptions } from './options.ts'
import { type Bench, CONNECT_PACKET, makeCertificateFolder, startBench, until } from './testing/probe.ts'

let files: Awaited<ReturnType<typeof makeCertificateFolder>>
before(async () => {
  files = await makeCertificateFolder('device-7')
})
after(() => files.remove())

const pem = (name: string): Buffer => readFileSync(files.path(name))

function startTls(overrides: Partial<ListenerOptions> = {}, requireClientCert = false): Promise<Bench> {
  return startBench({
    kind: 'tls',
    setting: 'listeners.tls.port',
    tellCertCommonName: true,
    tls: {
      certFile: files.path('server.pem'),
      keyFile: files.path('server.key'),
      caFile: files.path('ca.pem'),
      requireClientCert,
    },
    ...overrides,
  })
}

function dial(bench: Bench, overrides: ConnectionOptions = {}): TLSSocket {
  const options = { port: bench.port, host: '127.0.0.1', servername: 'localhost', ca: pem('ca.pem'), ...overrides }
  const client = connect(options)
  client.on('error', () => {})
  return client
}

const CLIENT = (): ConnectionOptions => ({ cert: pem('client.pem'), key: pem('client.key') })
const STRANGER = (): ConnectionOptions => ({ cert: pem('stranger.pem'), key: pem('stranger.key') })

async function closed(client: { destroyed: boolean; resume(): unknown }): Promise<void> {
  client.resume()
  await until(() => client.destroyed, 'the connection to be closed')
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: bytes arrive decrypted, both ways`, async t => {
    const bench = await startTls()
    t.after(() => bench.close())
    const client = dial(bench, { minVersion: version, maxVersion: version })
    client.write(CONNECT_PACKET)
    const accepted = await bench.acceptor.next()
    assert.deepEqual(await accepted.received(CONNECT_PACKET.length), CONNECT_PACKET)
    assert.equal(accepted.info.transport, 'tls')
    assert.equal(accepted.info.certCommonName, undefined)
    assert.equal(accepted.info.remotePort, client.localPort)
    accepted.stream.write('pong')
    const [reply] = await once(client, 'data')
    assert.equal(String(reply), 'pong')
    accepted.stream.destroy()
    await closed(client)
  })
}

test('TLS 1.1 is refused, counted and does no harm', async t => {
  const bench = await startTls()
  t.after(() => bench.close())
  await closed(dial(bench, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }))
  await until(() => bench.counters.tlsErrors === 1, 'the error to be counted')
  dial(bench).write(CONNECT_PACKET)
  await bench.acceptor.next()
})

test('the Common Name of a signed client certificate is told', async t => {
  const bench = await startTls()
  t.after(() => bench.close())
  dial(bench, CLIENT()).write(CONNECT_PACKET)
  assert.equal((await bench.acceptor.next()).info.certCommonName, 'device-7')
})

test('a chain is shown whole, so that a client that knows its root alone can check it', async t => {
  const tls = { certFile: files.path('chain.pem'), keyFile: files.path('chain.key') }
  const bench = await startTls({ tls })
  t.after(() => bench.close())
  const client = dial(bench)
  client.write(CONNECT_PACKET)
  await bench.acceptor.next()
  assert.equal(client.authorized, true)
})

/** The Common Name of the certificate that is shown to whoever asks for `servername`. */
async function shownTo(bench: Bench, servername: string): Promise<string | string[] | undefined> {
  const client = dial(bench, { servername, rejectUnauthorized: false })
  client.write(CONNECT_PACKET)
  await bench.acceptor.next()
  return client.getPeerCertificate().subject.CN
}

test('a client is shown the certificate of the name that it asks for, or else that of everybody', async t => {
  const bench = await startTls({
    tls: {
      certFile: files.path('server.pem'),
      keyFile: files.path('server.key'),
      certificates: [
        {
          hosts: ['a.example', '*.Tenants.example'],
          certFile: files.path('stranger.pem'),
          keyFile: files.path('stranger.key'),
        },
      ],
    },
  })
  t.after(() => bench.close())
  for (const name of ['a.example', 'A.Example', 'one.tenants.example']) {
    assert.equal(await shownTo(bench, name), 'device-7', name)
  }
  for (const name of ['b.example', 'a.example.org', 'tenants.example', 'x.one.tenants.example', '']) {
    assert.equal(await shownTo(bench, name), 'localhost', name)
  }
})

test('a certificate that is renewed is shown from then on, and ends no connection', async t => {
  const certFile = files.path('renewed.pem')
  const keyFile = files.path('renewed.key')
  const put = (name: string): void => {
    copyFileSync(files.path(`${name}.pem`), certFile)
    copyFileSync(files.path(`${name}.key`), keyFile)
  }
  put('server')
  const bench = await startTls({ tls: { certFile, keyFile, checkFilesMs: 0 } })
  t.after(() => bench.close())
  const early = dial(bench)
  early.write(CONNECT_PACKET)
  const accepted = await bench.acceptor.next()
  put('stranger')
  assert.equal(await shownTo(bench, 'localhost'), 'device-7')
  writeFileSync(keyFile, 'half a ke')
  assert.equal(await shownTo(bench, 'localhost'), 'device-7')
  assert.equal(await shownTo(bench, 'localhost'), 'device-7')
  const told = bench.logger.lines.filter(({ level }) => level !== 'debug').map(({ fields }) => Object(fields).event)
  assert.deepEqual(told, ['listener.certificate_reloaded', 'listener.certificate_failed'])
  put('server')
  assert.equal(await shownTo(bench, 'localhost'), 'localhost')
  early.write('more')
  await accepted.received(CONNECT_PACKET.length + 'more'.length)
})

test('the server name that a client asks for is told in lower case', async t => {
  const bench = await startTls()
  t.after(() => bench.close())
  // The certificate is for another name, which is not what this is about.
  const checkServerIdentity = (): undefined => undefined
  dial(bench, { servername: 'Tenant-A.Example', checkServerIdentity }).write(CONNECT_PACKET)
  assert.equal((await bench.acceptor.next()).info.serverName, 'tenant-a.example')
  dial(bench, { servername: '' }).write(CONNECT_PACKET)
  assert.equal((await bench.acceptor.next()).info.serverName, undefined)
})

test('the Common Name of a certificate that nobody signed is not told', async t => {
  const bench = await startTls()
  t.after(() => bench.close())
  dial(bench, STRANGER()).write(CONNECT_PACKET)
  assert.equal((await bench.acceptor.next()).info.certCommonName, undefined)
})

test('without tellCertCommonName the name is kept away', async t => {
  const bench = await startTls({ tellCertCommonName: false })
  t.after(() => bench.close())
  dial(bench, CLIENT()).write(CONNECT_PACKET)
  assert.equal((await bench.acceptor.next()).info.certCommonName, undefined)
})

test('requireClientCert lets in only signed certificates', async t => {
  const bench = await startTls({}, true)
  t.after(() => bench.close())
  for (const credentials of [{}, STRANGER()]) {
    const client = dial(bench, credentials)
    client.write(CONNECT_PACKET)
    await closed(client)
  }
  assert.equal(bench.acceptor.accepted.length, 0)
  dial(bench, CLIENT()).write(CONNECT_PACKET)
  assert.equal((await bench.acceptor.next()).info.certCommonName, 'device-7')
})

test('plain MQTT on a TLS port is recognised', async t => {
  const bench = await startTls({ otherPorts: { tcp: 1883 } })
  t.after(() => bench.close())
  const client = connectPlain({ port: bench.port, host: '127.0.0.1' })
  client.on('error', () => {})
  client.write(CONNECT_PACKET)
  await closed(client)
  assert.equal(bench.counters.wrongProtocol.get('plain_mqtt'), 1)
  assert.match(bench.logger.lines[0]?.text ?? '', /Plain MQTT client on the TLS port \d+; use the plain port 1883/)
})

test('HTTPS on a TLS port is recognised', async t => {
  const bench = await startTls()
  t.after(() => bench.close())
  const client = dial(bench)
  client.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  await closed(client)
  assert.equal(bench.counters.wrongProtocol.get('http'), 1)
})

test('garbage behind a TLS hello costs one connection', async t => {
  const bench = await startTls()
  t.after(() => bench.close())
  const client = connectPlain({ port: bench.port, host: '127.0.0.1' })
  client.on('error', () => {})
  client.write(Buffer.concat([Buffer.from([0x16, 0x03, 0x01, 0x00, 0x20]), Buffer.alloc(64, 0xff)]))
  await closed(client)
  assert.equal(bench.counters.tlsErrors, 1)
  assert.equal(bench.listener.address.port, bench.port)
  dial(bench).write(CONNECT_PACKET)
  await bench.acceptor.next()
})

test('a PROXY header comes before TLS, also in one piece with the hello', async t => {
  const bench = await startTls({ proxyProtocol: true })
  t.after(() => bench.close())
  for (const header of [
    Buffer.from('PROXY TCP4 192.0.2.10 10.0.0.1 5555 8883\r\n'),
    Buffer.from('0d0a0d0a000d0a515549540a2111000cc000020a7f00000115b322b3', 'hex'),
  ]) {
    const plain = connectPlain({ port: bench.port, host: '127.0.0.1' })
    plain.write(header)
    const client = dial(bench, { ...CLIENT(), socket: plain })
    client.write(CONNECT_PACKET)
    const accepted = await bench.acceptor.next()
    assert.deepEqual(await accepted.received(CONNECT_PACKET.length), CONNECT_PACKET)
    assert.equal(accepted.info.remoteAddress, '192.0.2.10')
    assert.equal(accepted.info.remotePort, 5555)
    assert.equal(accepted.info.certCommonName, 'device-7')
    client.destroy()
  }
})

test('handshakes that never end are closed by the timeout and free their place', async t => {
  const bench = await startTls({ connectTimeoutMs: 200, connectionsMax: 50 })
  t.after(() => bench.close())
  for (let round = 0; round < 2; round++) {
    const clients = Array.from({ length: 50 }, () => connectPlain({ port: bench.port, host: '127.0.0.1' }))
    for (const client of clients) {
      client.on('error', () => {})
      client.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00]))
    }
    await Promise.all(clients.map(closed))
  }
  assert.equal(bench.counters.connectTimeouts, 100)
  assert.equal(bench.counters.connectionsRefusedTotal, 0)
})

test('connections that came and went free their place', async t => {
  const bench = await startTls({ connectionsMax: 1 })
  t.after(() => bench.close())
  for (let round = 0; round < 5; round++) {
    const client = dial(bench)
    client.write(CONNECT_PACKET)
    const accepted = await bench.acceptor.next()
    client.destroy()
    await until(() => accepted.stream.destroyed, 'the server side to close')
    await new Promise(resolve => setImmediate(resolve))
  }
  assert.equal(bench.counters.connectionsRefusedTotal, 0)
})

test('a certificate that cannot be used is a configuration error that names the file', async () => {
  const tls = { certFile: files.path('server.pem'), keyFile: files.path('server.key') }
  const cases = [
    { ...tls, certFile: '/nowhere/server.pem' },
    { ...tls, keyFile: files.path('client.key') },
    { ...tls, requireClientCert: true },
  ]
  for (const broken of cases) {
    await assert.rejects(startTls({ tls: broken }), (error: unknown) => {
      assert.ok(error instanceof BrokerError)
      assert.equal(error.code, 'MIDGE_CONFIG_INVALID')
      assert.match(error.message, /server\.pem|caFile/)
      return true
    })
  }
})
