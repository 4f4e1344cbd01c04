import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { PassThrough, Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { copyBytes, OutputBuffer, type OutputForm } from './output-buffer.ts'

const SOCKET: OutputForm = { isSocket: true, reusesChunks: true }
const STREAM: OutputForm = { isSocket: false, reusesChunks: true }
const INSIDE: OutputForm = { isSocket: false, reusesChunks: false }

/** Keeps what is written; completes a write only when told to. */
class SlowSink extends Writable {
  readonly written: Buffer[] = []
  private pending: (() => void) | undefined

  constructor() {
    super({ highWaterMark: 1 })
  }

  get bytes(): Buffer {
    return Buffer.concat(this.written)
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    // Copied only when the write completes: a chunk that is used again too early shows up as wrong bytes.
    this.pending = () => {
      this.written.push(Buffer.from(chunk))
      callback()
    }
  }

  async step(): Promise<boolean> {
    const { pending } = this
    this.pending = undefined
    pending?.()
    await new Promise(resolve => setImmediate(resolve))
    return pending !== undefined
  }

  async drain(): Promise<void> {
    while (await this.step());
  }
}

function numbered(size: number, from: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let i = 0; i < size; i++) bytes[i] = (from + i) & 0xff
  return bytes
}

test('small and large appends and reservations leave in their order', async () => {
  const sink = new SlowSink()
  let progress = 0
  const output = new OutputBuffer(STREAM, () => progress++)
  const sizes = [1, 95, 96, 97, 1023, 1024, 5000, 3, 4096, 65_536, 65_537, 2, 70_000, 1]
  const expected: Buffer[] = []
  for (const size of sizes) {
    const bytes = numbered(size, size)
    expected.push(bytes)
    if (size % 2 === 0) {
      output.append(bytes, 0, bytes.length)
    } else {
      const at = output.reserve(size)
      copyBytes(bytes, 0, size, output.target, at)
    }
  }
  const total = Buffer.concat(expected)
  assert.equal(output.unsentBytes, total.length)
  assert.equal(output.isIdle, true)
  assert.equal(output.flush(sink), total.length)
  assert.equal(output.isIdle, false)
  assert.equal(output.flush(sink), 0)
  assert.equal(output.unsentBytes, total.length)
  await sink.drain()
  assert.deepEqual(sink.bytes, total)
  assert.equal(output.unsentBytes, 0)
  assert.equal(output.isIdle, true)
  assert.equal(progress, 1)
})

test('the chunk of a write that has not completed is not used again', async () => {
  const slow = new SlowSink()
  const output = new OutputBuffer(STREAM, () => undefined)
  const first = numbered(64, 1)
  output.append(first, 0, 64)
  output.flush(slow)
  // Other connections take chunks from the same pool meanwhile.
  const others: OutputBuffer[] = []
  for (let i = 0; i < 50; i++) {
    const other = new OutputBuffer(STREAM, () => undefined)
    others.push(other)
    other.append(Buffer.alloc(64, 0xee), 0, 64)
    const fast = new SlowSink()
    other.flush(fast)
    await fast.drain()
  }
  await slow.drain()
  assert.deepEqual(slow.bytes, first)
  assert.ok(others.every(other => other.unsentBytes === 0))
})

test('what leaves is what was appended, whatever the sizes and however slow the socket', async () => {
  const size = fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 0, max: 300 }) }, fc.integer({ min: 0, max: 80_000 }))
  const action = fc.oneof(
    { weight: 8, arbitrary: fc.record({ kind: fc.constantFrom('append', 'reserve'), size }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('flush', 'step'), size: fc.constant(0) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 60 }), async actions => {
      const sink = new SlowSink()
      const output = new OutputBuffer(STREAM, () => undefined)
      const expected: Buffer[] = []
      let salt = 0
      for (const { kind, size: bytesCount } of actions) {
        if (kind === 'flush') output.flush(sink)
        else if (kind === 'step') await sink.step()
        else {
          const bytes = numbered(bytesCount, ++salt * 7)
          expected.push(bytes)
          if (kind === 'append') output.append(bytes, 0, bytes.length)
          else {
            const at = output.reserve(bytesCount)
            copyBytes(bytes, 0, bytesCount, output.target, at)
          }
        }
        assert.ok(output.unsentBytes >= 0)
      }
      output.flush(sink)
      await sink.drain()
      assert.deepEqual(sink.bytes, Buffer.concat(expected))
      assert.equal(output.unsentBytes, 0)
      assert.equal(output.isIdle, true)
    }),
    { numRuns: 100 },
  )
})

/** Both ends of a TCP connection; the far one reads when it is told to. */
async function socketPair(t: TestContext): Promise<{ near: Socket; far: Socket }> {
  const server = createServer({ noDelay: true })
  t.after(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const far = connect({ port: typeof address === 'object' && address !== null ? address.port : 0, noDelay: true })
  const [near] = (await once(server, 'connection')) as [Socket]
  t.after(() => {
    near.destroy()
    far.destroy()
  })
  return { near, far }
}

test('what a socket takes at once is done with the flush; what it does not take is told later', async t => {
  const { near, far } = await socketPair(t)
  let progress = 0
  const output = new OutputBuffer(SOCKET, () => progress++)
  output.append(numbered(64, 1), 0, 64)
  assert.equal(output.flush(near), 64)
  assert.equal(output.unsentBytes, 0)
  assert.equal(output.isIdle, true)

  far.pause()
  const expected = [numbered(64, 1)]
  let flushes = 0
  // Until the buffers of the kernel are full, and then a few more.
  for (let late = 0; late < 5; flushes++) {
    const bytes = numbered(flushes % 3 === 0 ? 50_000 : 500, flushes)
    expected.push(bytes)
    output.append(bytes, 0, bytes.length)
    output.flush(near)
    if (!output.isIdle) late++
  }
  assert.ok(output.unsentBytes > 0)
  assert.equal(progress, 0)
  const received: Buffer[] = []
  far.on('data', (chunk: Buffer) => received.push(chunk))
  far.resume()
  const total = Buffer.concat(expected)
  while (received.reduce((sum, { length }) => sum + length, 0) < total.length) await once(far, 'data')
  assert.ok(Buffer.concat(received).equals(total))
  while (!output.isIdle) await new Promise(resolve => setImmediate(resolve))
  assert.equal(output.unsentBytes, 0)
  assert.equal(progress, 5)
})

test('a stream that keeps what it is given gets memory of its own', async () => {
  const inside = new PassThrough()
  const output = new OutputBuffer(INSIDE, () => undefined)
  const first = numbered(64, 1)
  output.append(first, 0, 64)
  output.flush(inside)
  // Others would take the chunk from the pool if it were there.
  for (let i = 0; i < 10; i++) {
    const other = new OutputBuffer(STREAM, () => undefined)
    other.append(Buffer.alloc(64, 0xee), 0, 64)
    other.flush(new PassThrough())
  }
  assert.deepEqual(inside.read(), first)
})
