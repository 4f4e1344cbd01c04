import assert from 'node:assert/strict'
import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { after, test } from 'node:test'
import { AddressBook } from './address-book.ts'
import { AddressGuard } from './address-guard.ts'
import { type HttpAnswer, type HttpCall, HttpCaller } from './http-caller.ts'

const closers: (() => void)[] = []
after(() => {
  for (const close of closers) close()
})

type Handler = (request: IncomingMessage, response: ServerResponse) => void

async function serve(handler: Handler, host = '127.0.0.1'): Promise<number> {
  const server: Server = createServer(handler).listen(0, host)
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return address.port
}

function callerOf(allow: readonly string[], nameServers?: readonly string[]): HttpCaller {
  const caller = new HttpCaller(new AddressBook(new AddressGuard(allow), nameServers))
  closers.push(() => caller.close())
  return caller
}

function get(caller: HttpCaller, url: string, rest: Partial<HttpCall> = {}): Promise<HttpAnswer> {
  return caller.call({ url, method: 'GET', timeoutMs: 5000, answerBytesMax: 1024, ...rest })
}

/** A name server of one name: each question for an IPv4 address gets the next of `answers`, the last for ever. */
async function nameServer(answers: string[]): Promise<string> {
  const socket: DatagramSocket = createSocket('udp4')
  socket.on('message', (question, from) => {
    const isFour = question.readUInt16BE(question.indexOf(0, 12) + 1) === 1
    const address = (answers.length > 1 ? answers.shift() : answers[0]) ?? '0.0.0.0'
    const answer = Buffer.from(question.subarray(0, question.indexOf(0, 12) + 5))
    answer.writeUInt16BE(0x8180, 2)
    answer.writeUInt16BE(isFour ? 1 : 0, 6)
    answer.writeUInt32BE(0, 8)
    const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)]
    if (!isFour && answers.length > 0) answers.unshift(address)
    socket.send(isFour ? Buffer.concat([answer, Buffer.from(record)]) : answer, from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  closers.push(() => socket.close())
  return `127.0.0.1:${socket.address().port}`
}

const refused = { code: 'MIDGE_OUTBOUND_REFUSED' }
const failed = { code: 'MIDGE_OUTBOUND_FAILED', retryable: true }

test('a private address is not asked, however it is written, unless it is allowed', async () => {
  let asked = 0
  const port = await serve((_, response) => {
    asked++
    response.end('hello')
  })
  const caller = callerOf([])
  for (const host of ['127.0.0.1', '127.1', '2130706433', '0x7f000001', '[::ffff:127.0.0.1]', '[::1]', '0.0.0.0']) {
    await assert.rejects(get(caller, `http://${host}:${port}/`), refused, host)
  }
  await assert.rejects(get(caller, 'https://169.254.169.254/latest/meta-data/'), refused)
  assert.equal(asked, 0)
  for (const [allow, host] of [
    ['127.0.0.0/8', '127.0.0.1'],
    ['localhost', 'localhost'],
  ] as const) {
    const { status, body } = await get(callerOf([allow]), `http://${host}:${port}/`)
    assert.deepEqual([status, body.toString()], [200, 'hello'])
  }
  assert.equal(asked, 2)
})

test('a public name that leads to a private address is not asked, at any time', async () => {
  let asked = 0
  const port = await serve((_, response) => {
    asked++
    response.end()
  })
  const always = callerOf([], [await nameServer(['127.0.0.1'])])
  await assert.rejects(get(always, `http://inside.example:${port}/`), refused)
  // What is connected to is the address that was checked: nobody asks for the name a second time.
  const rebinding = callerOf(['127.0.0.2'], [await nameServer(['127.0.0.2', '127.0.0.1'])])
  await assert.rejects(get(rebinding, `http://rebind.example:${port}/`), failed)
  await assert.rejects(get(rebinding, `http://rebind.example:${port}/`), refused)
  assert.equal(asked, 0)
})

test('a name that leads nowhere is a failure', async () => {
  await assert.rejects(get(callerOf(['nowhere.invalid']), 'http://nowhere.invalid/'), failed)
})

test('a redirection is an answer and is not followed', async () => {
  let followed = 0
  const inside = await serve((_, response) => {
    followed++
    response.end()
  })
  const port = await serve((_, response) => {
    response.writeHead(302, { location: `http://127.0.0.1:${inside}/` }).end()
  })
  assert.equal((await get(callerOf(['127.0.0.1']), `http://127.0.0.1:${port}/`)).status, 302)
  assert.equal(followed, 0)
})

test('an answer that is too long or does not come is given up', async () => {
  const caller = callerOf(['127.0.0.1'])
  const port = await serve((request, response) => {
    if (request.url === '/long') response.end(Buffer.alloc(1025))
    else if (request.url === '/full') response.end(Buffer.alloc(1024))
    else if (request.url === '/slow') response.write('a')
  })
  await assert.rejects(get(caller, `http://127.0.0.1:${port}/long`), failed)
  assert.equal((await get(caller, `http://127.0.0.1:${port}/full`)).body.length, 1024)
  for (const path of ['/slow', '/silent']) {
    const startMs = performance.now()
    await assert.rejects(get(caller, `http://127.0.0.1:${port}${path}`, { timeoutMs: 150 }), failed)
    const tookMs = performance.now() - startMs
    assert.ok(tookMs >= 140 && tookMs < 2000, `${path} took ${tookMs} ms`)
  }
})

test('a silent name server costs no more than the time of the call', async () => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  closers.push(() => socket.close())
  const caller = callerOf([], [`127.0.0.1:${socket.address().port}`])
  const startMs = performance.now()
  await assert.rejects(get(caller, 'http://silent.example/', { timeoutMs: 200 }), failed)
  assert.ok(performance.now() - startMs < 2000)
})

test('what is sent arrives as it is, and a server is asked over the connection of before', async () => {
  const ports = new Set<number | undefined>()
  const port = await serve((request, response) => {
    ports.add(request.socket.remotePort)
    let text = ''
    request.setEncoding('utf8').on('data', part => {
      text += part
    })
    request.on('end', () => response.end(`${request.method} ${request.headers['x-test']} ${text}`))
  })
  const caller = callerOf(['127.0.0.1'])
  for (let n = 0; n < 3; n++) {
    const answer = await get(caller, `http://127.0.0.1:${port}/`, {
      method: 'POST',
      headers: { 'x-test': 'yes' },
      body: '{"name":"ünï"}',
    })
    assert.equal(answer.body.toString(), 'POST yes {"name":"ünï"}')
  }
  assert.equal(ports.size, 1)
})
