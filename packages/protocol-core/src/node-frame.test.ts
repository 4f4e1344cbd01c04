import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerError } from './errors.ts'
import { Message } from './message.ts'
import { decodeNodeCommand } from './node-command.ts'
import { FRAME_BYTES_MAX, FRAME_MESSAGES_MAX, FrameReader, FrameWriter } from './node-frame.ts'

const utf8 = new TextEncoder()

function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 0x1_0000_0000
  }
}

interface Entry {
  instance: string
  message: Message | undefined
  groups: string[]
  group: string
}

function messageOf(topicName: string, payload: Uint8Array, more: Partial<Message> = {}): Message {
  return new Message({
    topicName,
    topicBytes: utf8.encode(topicName),
    payload,
    qos: 0,
    retain: false,
    properties: new Uint8Array(0),
    expiresAtMs: 0,
    publisherId: 'publisher',
    ...more,
  })
}

function readAll(reader: FrameReader, frame: Uint8Array): Entry[] {
  assert.equal(reader.open(frame), true)
  const entries: Entry[] = []
  while (reader.next()) {
    entries.push({ instance: reader.instance, message: reader.message, groups: reader.groups, group: reader.group })
  }
  assert.equal(entries.length, reader.count)
  return entries
}

const TEXTS = ['a', 'a/b', 'größe/höhe', '家/居', '$SYS/x', '\ud83d\ude00', '__proto__', 'x'.repeat(300), '']

function randomEntry(random: () => number): Entry {
  const pick = (): string => TEXTS[Math.floor(random() * TEXTS.length)] ?? ''
  const bytes = (max: number): Uint8Array =>
    Uint8Array.from({ length: Math.floor(random() * max) }, () => Math.floor(random() * 256))
  const instance = random() < 0.8 ? 'default' : pick()
  if (random() < 0.2) return { instance, message: undefined, groups: [], group: pick() }
  const message = messageOf(pick(), bytes(random() < 0.01 ? 200_000 : 80), {
    qos: Math.floor(random() * 3) as 0 | 1 | 2,
    retain: random() < 0.3,
    properties: random() < 0.5 ? new Uint8Array(0) : bytes(40),
    expiresAtMs: random() < 0.5 ? 0 : Math.floor(random() * 2 ** 48),
    publisherId: pick(),
  })
  return { instance, message, groups: random() < 0.7 ? [] : Array.from({ length: 3 }, pick), group: '' }
}

function assertSame(actual: Entry | undefined, expected: Entry): void {
  assert.ok(actual !== undefined)
  assert.deepEqual(
    { ...actual, message: actual.message && { ...actual.message } },
    { ...expected, message: expected.message && { ...expected.message } },
  )
}

test('entries come back as they were written, in order, over many frames', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
  console.log(`seed ${seed}`)
  const random = randomOf(seed)
  const writer = new FrameWriter('node-ä', 2 ** 40 + 3)
  const reader = new FrameReader()
  let pending: Entry[] = []
  let frames = 0
  const takeAndCheck = (): void => {
    const got = readAll(reader, writer.take())
    frames++
    assert.equal(reader.nodeId, 'node-ä')
    assert.equal(reader.epoch, 2 ** 40 + 3)
    assert.equal(reader.sequence, frames)
    assert.equal(got.length, pending.length)
    for (const [i, expected] of pending.entries()) assertSame(got[i], expected)
    pending = []
  }
  for (let i = 0; i < 4_000; i++) {
    const entry = randomEntry(random)
    const append = (): boolean =>
      entry.message === undefined
        ? writer.appendPoke(entry.instance, entry.group)
        : writer.append(entry.instance, entry.message, entry.groups)
    if (!append()) {
      takeAndCheck()
      assert.equal(append(), true)
    }
    pending.push(entry)
    if (random() < 0.02) takeAndCheck()
  }
  if (pending.length > 0) takeAndCheck()
  assert.ok(frames > 20)
})

test('a frame is full at its count and at its bytes; a larger message travels alone', () => {
  const writer = new FrameWriter('n', 1)
  const small = messageOf('t', new Uint8Array(1))
  for (let i = 0; i < FRAME_MESSAGES_MAX; i++) assert.equal(writer.append('default', small, []), true)
  assert.equal(writer.append('default', small, []), false)
  assert.equal(writer.take().length < FRAME_BYTES_MAX, true)

  const large = messageOf('t', new Uint8Array(3 * FRAME_BYTES_MAX).fill(7))
  writer.append('default', small, [])
  assert.equal(writer.append('default', large, []), false)
  writer.take()
  assert.equal(writer.append('default', large, []), true)
  const [entry] = readAll(new FrameReader(), writer.take())
  assert.deepEqual(entry?.message?.payload, large.payload)
})

test('a burst of one publisher writes topic and client id once', () => {
  const writer = new FrameWriter('n', 1)
  const message = messageOf('some/long/topic/name', new Uint8Array(10))
  writer.append('default', message, [])
  const one = writer.take().length
  for (let i = 0; i < 2; i++) writer.append('default', message, [])
  assert.equal(writer.take().length - one, 1 + 4 + 10)
})

test('a message after a poke at the start of a frame does not borrow the topic of the frame before', () => {
  const writer = new FrameWriter('n', 1)
  const message = messageOf('t/1', new Uint8Array(1))
  writer.append('default', message, [])
  writer.take()
  writer.appendPoke('default', '$share/g/t')
  writer.append('default', message, [])
  const entries = readAll(new FrameReader(), writer.take())
  assert.equal(entries[1]?.message?.topicName, 't/1')
})

test('a frame of another version is reported, not read', () => {
  const writer = new FrameWriter('n', 1)
  writer.append('default', messageOf('t', new Uint8Array(1)), [])
  const frame = writer.take()
  frame[0] = 0xaf
  assert.equal(new FrameReader().open(frame), false)
})

test('random and damaged bytes raise MIDGE_ENVELOPE_INVALID and nothing else', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
  console.log(`seed ${seed}`)
  const random = randomOf(seed)
  const writer = new FrameWriter('node', 9)
  const reader = new FrameReader()
  let refused = 0
  for (let i = 0; i < 20_000; i++) {
    let bytes = Uint8Array.from({ length: Math.floor(random() * 60) }, () => Math.floor(random() * 256))
    if (random() < 0.7) {
      for (let n = 0; n < 3; n++) {
        const entry = randomEntry(random)
        if (entry.message !== undefined && entry.message.payload.length < 100) {
          writer.append(entry.instance, entry.message, entry.groups)
        }
      }
      bytes = new Uint8Array(writer.take())
      for (let n = 0; n < 3; n++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
      if (random() < 0.3) bytes = bytes.slice(0, Math.floor(random() * bytes.length))
    } else if (bytes.length > 0) bytes[0] = 0xa1
    try {
      if (reader.open(bytes)) while (reader.next());
    } catch (error) {
      assert.ok(error instanceof BrokerError && error.code === 'MIDGE_ENVELOPE_INVALID', String(error))
      refused++
    }
  }
  assert.ok(refused > 5_000)
})

test('commands stand between messages, and end no "same" of theirs', () => {
  const commands = [
    { kind: 'takeover', request: 2 ** 47, instance: 'ä', clientId: 'c"\\', epoch: 1_700_000_000_000 },
    { kind: 'takeoverAnswer', request: 0, answer: 'goodbye' },
    { kind: 'kick', instance: 'default', clientId: '', reasonCode: 0x98 },
    { kind: 'drain' },
  ] as const
  const writer = new FrameWriter('n', 1)
  const seen: unknown[] = []
  for (const command of commands) {
    writer.append('default', messageOf('a/b', utf8.encode('x')), [])
    assert.ok(writer.appendCommand(command))
  }
  assert.equal(writer.messageCount, commands.length)
  const reader = new FrameReader()
  assert.ok(reader.open(writer.take()))
  while (reader.next()) seen.push(reader.command ?? reader.message?.topicName)
  assert.deepEqual(
    seen,
    commands.flatMap(command => ['a/b', command]),
  )
})

test('a damaged command is an error, one of an unknown kind is skipped', () => {
  const decode = (text: string): unknown => decodeNodeCommand(new TextEncoder().encode(text))
  assert.equal(decode('{"kind":"later","more":1}'), undefined)
  for (const text of [
    '',
    '{',
    '1',
    'null',
    '{"kind":"kick","instance":"i","clientId":"c","reasonCode":"9"}',
    '{"kind":"takeover","instance":"i","clientId":1,"epoch":1,"request":1}',
    '{"kind":"takeoverAnswer","request":1,"answer":"perhaps"}',
  ]) {
    assert.throws(() => decode(text), { code: 'MIDGE_ENVELOPE_INVALID' }, text)
  }
})
