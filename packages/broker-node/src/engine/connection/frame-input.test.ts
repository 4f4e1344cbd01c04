import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProtocolError } from '@midge/protocol-core'
import fc from 'fast-check'
import { Counters } from '../../counters.ts'
import { PINGREQ, publishPacket, subscribePacket } from '../testing/raw-client.ts'
import { ScriptedStream } from '../testing/scripted-stream.ts'
import { FrameInput, type InputOwner } from './frame-input.ts'

/** A stream hands on its first chunks a turn later. */
async function flowing(bench: Bench): Promise<Bench> {
  await new Promise(setImmediate)
  return bench
}

/** An input with everything around it scripted; what it hands on is kept as text. */
class Bench implements InputOwner {
  readonly stream = new ScriptedStream()
  readonly counters = new Counters()
  readonly seen: string[] = []
  readonly failures: unknown[] = []
  nowMs = 1000
  /** Called for a packet that is handed on; may begin a step or throw. */
  onSeen: (what: string) => void = () => undefined
  readonly input: FrameInput

  constructor(packetBytesMax = 1000) {
    this.input = new FrameInput({
      stream: this.stream,
      sink: {
        onPublish: (chunk, start, _bodyStart, bodyEnd) => this.hand('publish', chunk.subarray(start, bodyEnd)),
        onPacket: (first, chunk, bodyStart, bodyEnd) => {
          this.hand(`packet ${first >>> 4}`, chunk.subarray(bodyStart, bodyEnd))
        },
        endRun: () => this.seen.push('end'),
      },
      owner: this,
      packetBytesMax,
      counters: this.counters,
      nowMs: () => this.nowMs,
    })
    this.input.open(packetBytesMax)
  }

  /** Without the ends of runs, whose number depends on the chunks. */
  get packets(): string[] {
    return this.seen.filter(what => what !== 'end')
  }

  onTooLarge(): void {
    this.seen.push('too large')
    this.input.close()
  }

  onPacketFailure(error: unknown): void {
    this.failures.push(error)
    this.input.close()
  }

  onStepFailure(error: unknown): void {
    this.failures.push(error)
  }

  onInputEnd(): void {
    this.seen.push('ended')
  }

  /** Holds the input until the returned function is called. */
  hold(): () => void {
    let done: () => void = () => undefined
    this.input.waitFor(new Promise<void>(resolve => (done = resolve)))
    return done
  }

  private hand(what: string, bytes: Uint8Array): boolean {
    const text = `${what} ${Buffer.from(bytes).toString('hex')}`
    this.onSeen(text)
    this.seen.push(text)
    return true
  }
}

const PACKETS = [
  publishPacket('a', 'x'),
  publishPacket('a', 'y'),
  PINGREQ,
  publishPacket('a', 'z'.repeat(300), { qos: 1 }),
  subscribePacket(5, 1, [{ filter: 'a' }]),
]

function expected(packets: readonly Buffer[]): string[] {
  return packets.map(packet => {
    const type = (packet[0] as number) >>> 4
    const head = packet.length > 130 ? 3 : 2
    return type === 3 ? `publish ${packet.toString('hex')}` : `packet ${type} ${packet.subarray(head).toString('hex')}`
  })
}

test('the same packets come out however the bytes are cut, also while steps hold them up', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(PACKETS.length - 1), { minLength: 1, maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 }),
      fc.nat(3),
      async (picked, sizes, holdEvery) => {
        const bench = new Bench()
        const packets = picked.map(index => PACKETS[index] as Buffer)
        let handed = 0
        bench.onSeen = () => {
          if (holdEvery > 0 && ++handed % holdEvery === 0) bench.input.waitFor(Promise.resolve())
        }
        const bytes = Buffer.concat(packets)
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length] ?? 1
          bench.stream.feed(bytes.subarray(at, at + size))
          at += size
          if (i % 3 === 0) await Promise.resolve()
        }
        for (let i = 0; i < 100 && bench.packets.length < packets.length; i++) await new Promise(setImmediate)
        assert.deepEqual(bench.packets, expected(packets))
        assert.equal(bench.counters.bytesReceived, bytes.length)
      },
    ),
    { numRuns: 200 },
  )
})

test('what was collected is ended before another packet, and with the chunk', async () => {
  const bench = await flowing(new Bench())
  bench.stream.feed(Buffer.concat([publishPacket('a', 'x'), PINGREQ, publishPacket('a', 'y')]))
  assert.deepEqual(
    bench.seen.map(what => what.split(' ')[0]),
    ['publish', 'end', 'packet', 'publish', 'end'],
  )
})

test('before CONNECT is accepted a PUBLISH is a packet like any other', async () => {
  const stream = new ScriptedStream()
  const seen: number[] = []
  const bench = new Bench()
  const input = new FrameInput({
    stream,
    sink: {
      onPublish: () => assert.fail('not open'),
      onPacket: first => seen.push(first >>> 4),
      endRun: () => undefined,
    },
    owner: bench,
    packetBytesMax: 100,
    counters: bench.counters,
    nowMs: () => 0,
  })
  await new Promise(setImmediate)
  stream.feed(publishPacket('a', 'x'))
  assert.deepEqual(seen, [3])
  assert.equal(input.isWaiting, false)
})

test('while a step is under way nothing is handed on, bytes pause the stream, and later ones keep their order', async () => {
  const bench = await flowing(new Bench())
  const first = bench.hold()
  const second = bench.hold()
  assert.equal(bench.stream.isPaused(), false)
  bench.stream.feed(PINGREQ)
  assert.equal(bench.stream.isPaused(), true)
  bench.stream.push(null)
  first()
  await new Promise(setImmediate)
  assert.deepEqual(bench.packets, [])
  bench.nowMs = 9000
  second()
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  // The end of the stream waits for what came before it.
  assert.deepEqual(bench.packets, ['packet 12 ', 'ended'])
  assert.equal(bench.input.lastReceivedMs, 9000)
})

test('reads into a buffer of others: what waits is copied, a small packet is handled where it is, a large one is not', async () => {
  const bench = await flowing(new Bench(100_000))
  const shared = Buffer.alloc(65_536)
  const lent: boolean[] = []
  bench.onSeen = () => lent.push(bench.input.isLent)
  const read = (bytes: Buffer): void => {
    shared.fill(0xee)
    bytes.copy(shared)
    bench.input.onRead(shared, bytes.length)
  }
  const small = publishPacket('a', 'x'.repeat(500))
  const large = publishPacket('a', 'y'.repeat(1024))
  read(small)
  read(large)
  // A packet in two reads, then one that waits with the beginning of another behind it.
  read(small.subarray(0, 10))
  read(small.subarray(10))
  const done = bench.hold()
  read(Buffer.concat([small, large.subarray(0, 9)]))
  assert.equal(bench.stream.isPaused(), true)
  read(large.subarray(9))
  done()
  await new Promise(setImmediate)
  assert.deepEqual(bench.packets, expected([small, large, small, small, large]))
  assert.deepEqual(lent, [true, false, false, false, false])
  assert.equal(bench.input.isLent, false)
})

test('a step that fails is told, and what waited goes on', async () => {
  const bench = new Bench()
  bench.input.waitFor(Promise.reject(new Error('store')))
  bench.stream.feed(PINGREQ)
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  assert.equal(bench.failures.length, 1)
  assert.deepEqual(bench.packets, ['packet 12 '])
})

test('nothing is handed on after a failure, a packet that is too large, or the end of the connection', async () => {
  const malformed = await flowing(new Bench())
  malformed.stream.feed(Buffer.concat([PINGREQ, Buffer.alloc(6, 0xff), PINGREQ]))
  assert.deepEqual(malformed.packets, ['packet 12 '])
  assert.ok(malformed.failures[0] instanceof ProtocolError)

  const thrown = await flowing(new Bench())
  thrown.onSeen = () => {
    throw new Error('a bug')
  }
  thrown.stream.feed(Buffer.concat([PINGREQ, PINGREQ]))
  assert.equal(thrown.failures.length, 1)

  const large = await flowing(new Bench())
  large.stream.feed(Buffer.concat([publishPacket('a', Buffer.alloc(1000)), PINGREQ]))
  assert.deepEqual(large.packets, ['too large'])

  const partial = await flowing(new Bench())
  partial.stream.feed(publishPacket('a', Buffer.alloc(1000)).subarray(0, 10))
  partial.stream.feed(Buffer.alloc(10))
  assert.deepEqual(partial.packets, ['too large'])

  const closed = await flowing(new Bench())
  closed.onSeen = () => closed.input.close()
  closed.stream.feed(Buffer.concat([PINGREQ, PINGREQ]))
  closed.stream.feed(PINGREQ)
  assert.equal(closed.packets.length, 1)
})
