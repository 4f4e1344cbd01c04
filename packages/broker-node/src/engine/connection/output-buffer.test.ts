import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { copyBytes, OutputBuffer } from './output-buffer.ts'

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
  const output = new OutputBuffer(() => progress++)
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
  const output = new OutputBuffer(() => undefined)
  const first = numbered(64, 1)
  output.append(first, 0, 64)
  output.flush(slow)
  // Other connections take chunks from the same pool meanwhile.
  const others: OutputBuffer[] = []
  for (let i = 0; i < 50; i++) {
    const other = new OutputBuffer(() => undefined)
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
      const output = new OutputBuffer(() => undefined)
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
