import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { REMAINING_LENGTH_MAX } from '../limits.ts'
import { scanVarint, varintLength, writeVarint } from './bytes.ts'
import { firstByteProblem, scanFrame } from './frame.ts'

function scan(...bytes: number[]): number {
  return scanFrame(Uint8Array.from(bytes), 0, bytes.length)
}

test('scanFrame() gives length and header of every size of Remaining Length', () => {
  const table: [bytes: number[], remaining: number, header: number][] = [
    [[0x30, 0x00], 0, 2],
    [[0x30, 0x7f], 127, 2],
    [[0x30, 0x80, 0x01], 128, 3],
    [[0x30, 0xff, 0x7f], 16_383, 3],
    [[0x30, 0x80, 0x80, 0x01], 16_384, 4],
    [[0x30, 0xff, 0xff, 0x7f], 2_097_151, 4],
    [[0x30, 0x80, 0x80, 0x80, 0x01], 2_097_152, 5],
    [[0x30, 0xff, 0xff, 0xff, 0x7f], REMAINING_LENGTH_MAX, 5],
  ]
  for (const [bytes, remaining, header] of table) {
    const scanned = scan(...bytes)
    assert.equal(scanned >>> 3, remaining)
    assert.equal(scanned & 7, header)
    for (let cut = 0; cut < bytes.length; cut++) assert.equal(scan(...bytes.slice(0, cut)), 0, 'cut short')
  }
})

test('v3.1.1 section 2.2.3: a fifth length byte is malformed as soon as the fourth announces it', () => {
  assert.equal(scan(0x30, 0xff, 0xff, 0xff, 0xff), -1)
  assert.equal(scan(0x30, 0x80, 0x80, 0x80, 0x80, 0x01), -1)
})

test('v5 [MQTT-1.5.5-1] a length that is not in its shortest form is malformed', () => {
  assert.equal(scan(0x30, 0x80, 0x00), -1)
  assert.equal(scan(0x30, 0x85, 0x80, 0x00), -1)
  assert.equal(scan(0x30, 0x80, 0x80, 0x80, 0x00), -1)
})

test('scanFrame() and scanVarint() read back what writeVarint() wrote, at any offset', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: REMAINING_LENGTH_MAX }), fc.nat(9), (value, offset) => {
      const buf = new Uint8Array(offset + 6)
      const end = writeVarint(buf, offset + 1, value)
      assert.equal(end - offset - 1, varintLength(value))
      const scanned = scanFrame(buf, offset, end)
      assert.equal(scanned, value * 8 + varintLength(value) + 1)
      assert.equal(scanVarint(buf, offset + 1, end), value * 8 + varintLength(value))
    }),
  )
})

test('firstByteProblem() follows the table of types and flags', () => {
  const accepted5 = [0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xc0, 0xe0, 0xf0]
  for (let byte = 0; byte < 256; byte++) {
    const type = byte >> 4
    const fromServer = type === 2 || type === 9 || type === 11 || type === 13
    const expected = type === 1 || type === 3 || accepted5.includes(byte) ? 0 : fromServer ? 0x82 : 0x81
    assert.equal(firstByteProblem(byte, 5), expected, `v5 ${byte.toString(16)}`)
    assert.equal(firstByteProblem(byte, 4), byte === 0xf0 ? 0x81 : expected, `v3.1.1 ${byte.toString(16)}`)
    const dup31 = byte === 0x6a || byte === 0x8a || byte === 0xaa
    assert.equal(firstByteProblem(byte, 3), dup31 ? 0 : byte === 0xf0 ? 0x81 : expected, `v3.1 ${byte.toString(16)}`)
  }
})
