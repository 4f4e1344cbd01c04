import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ProtocolError } from './errors.ts'
import { decodeUtf8, encodeUtf8, isValidUtf8, isWellFormedUtf8, utf8Length } from './utf8.ts'

const fatal = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function platformAccepts(bytes: Uint8Array): boolean {
  try {
    fatal.decode(bytes)
    return true
  } catch {
    return false
  }
}

const invalid: Record<string, number[]> = {
  'U+0000': [0x61, 0x00],
  'U+0000 behind a multi-byte character': [0xc3, 0xa9, 0x00],
  'U+0000 overlong': [0xc0, 0x80],
  'overlong slash in three bytes': [0xe0, 0x80, 0xaf],
  'overlong in four bytes': [0xf0, 0x8f, 0xbf, 0xbf],
  'surrogate U+D800': [0xed, 0xa0, 0x80],
  'surrogate U+DFFF': [0xed, 0xbf, 0xbf],
  'surrogate pair as six bytes': [0xed, 0xa0, 0x81, 0xed, 0xb0, 0x80],
  'above U+10FFFF': [0xf4, 0x90, 0x80, 0x80],
  'lead byte F5': [0xf5, 0x80, 0x80, 0x80],
  'lone continuation': [0x80],
  'truncated two bytes': [0xc3],
  'truncated three bytes': [0xe2, 0x82],
  'truncated four bytes': [0xf0, 0x9f, 0x92],
  'continuation missing in the middle': [0xe2, 0x28, 0xa1],
}

test('isValidUtf8() refuses what is ill-formed or U+0000', () => {
  for (const [name, bytes] of Object.entries(invalid)) {
    const buf = Uint8Array.from(bytes)
    assert.equal(isValidUtf8(buf, 0, buf.length), false, name)
    assert.throws(
      () => decodeUtf8(buf, 0, buf.length),
      (e: unknown) => e instanceof ProtocolError && e.reasonCode === 0x81,
      name,
    )
  }
})

test('isWellFormedUtf8() takes U+0000, which a payload may contain', () => {
  const buf = Uint8Array.of(0x61, 0, 0xc3, 0xa9)
  assert.equal(isWellFormedUtf8(buf, 0, 4), true)
  assert.equal(isWellFormedUtf8(buf, 0, 3), false)
})

test('decodeUtf8() keeps U+FEFF, U+10FFFF and non-characters', () => {
  for (const text of ['\ufeffa', '\u{10ffff}', '\uffff', 'A\u{2a6d4}', '', 'x'.repeat(100), 'é'.repeat(40)]) {
    const bytes = encodeUtf8(text)
    assert.equal(decodeUtf8(bytes, 0, bytes.length), text)
  }
})

test('decodeUtf8() stays inside its range', () => {
  const buf = Uint8Array.of(0xff, 0x61, 0xc3, 0xa9, 0xff)
  assert.equal(decodeUtf8(buf, 1, 4), 'aé')
  assert.equal(isValidUtf8(buf, 1, 3), false)
})

test('isWellFormedUtf8() agrees with the platform on any two- to four-byte sequence', () => {
  const edges = [
    0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xec, 0xed, 0xee, 0xf0, 0xf4, 0xf5, 0xff,
  ]
  for (const a of edges) {
    for (const b of edges) {
      for (const c of edges) {
        for (const d of edges) {
          const buf = Uint8Array.of(a, b, c, d)
          assert.equal(isWellFormedUtf8(buf, 0, 4), platformAccepts(buf), `${buf}`)
        }
      }
    }
  }
})

test('isValidUtf8() agrees with the platform on random bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), buf => {
      assert.equal(isValidUtf8(buf, 0, buf.length), platformAccepts(buf) && !buf.includes(0))
    }),
  )
})

test('utf8Length() is the length of encodeUtf8(), lone surrogates included', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.array(fc.integer({ min: 0, max: 0xffff })), (text, units) => {
      assert.equal(utf8Length(text), encodeUtf8(text).length)
      const anyUnits = String.fromCharCode(...units)
      assert.equal(utf8Length(anyUnits), encodeUtf8(anyUnits).length)
    }),
  )
})
