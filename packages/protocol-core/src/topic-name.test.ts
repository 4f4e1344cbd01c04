import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { checkTopicName, isReservedForServer, topicBytesCount } from './topic-name.ts'

describe('checkTopicName()', () => {
  const accepted: [string, string][] = [
    ['a', 'one level'],
    ['/', 'two empty levels'],
    ['a//b/', 'empty levels'],
    ['$SYS/x', 'a name that starts with $'],
    [' ', 'a space'],
    ['__proto__/constructor', 'words of the language'],
    ['room[12]/*', 'other brackets and stars'],
    ['häuser/🏠', 'letters beyond ASCII and beyond the basic plane'],
    ['\ufeffa', 'a byte order mark, which is kept'],
    [Array(128).fill('a').join('/'), '128 levels'],
    ['x'.repeat(65_535), 'the longest'],
    ['é'.repeat(32_767), '65,534 bytes'],
  ]
  for (const [name, what] of accepted) it(`accepts ${what}`, () => assert.equal(checkTopicName(name), 0))

  const refused: [string, string][] = [
    ['', 'an empty name'],
    ['a/+', "'+'"],
    ['a+b', "'+' inside a level"],
    ['a/#', "'#'"],
    ['a#', "'#' inside a level"],
    ['a\u0000', 'U+0000'],
    ['ä\u0000', 'U+0000 after a letter beyond ASCII'],
    ['a\ud800', 'a high surrogate at the end'],
    ['\ud800a', 'a high surrogate before a letter'],
    ['\udc00', 'a low surrogate alone'],
    [Array(129).fill('').join('/'), '129 levels'],
    ['x'.repeat(65_536), '65,536 bytes of ASCII'],
    ['é'.repeat(32_768), '65,536 bytes in two-byte letters'],
    ['€'.repeat(21_846), '65,538 bytes in three-byte letters'],
  ]
  for (const [name, what] of refused) it(`refuses ${what}`, () => assert.equal(checkTopicName(name), 0x90))

  it('takes the bound on levels from its caller', () => {
    assert.equal(checkTopicName('a/b/c', 3), 0)
    assert.equal(checkTopicName('a/b/c', 2), 0x90)
  })
})

describe('topicBytesCount()', () => {
  it('agrees with the encoder of the platform on any well-formed text', () => {
    const encoder = new TextEncoder()
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        fc.pre(!text.includes('\u0000'))
        assert.equal(topicBytesCount(text), encoder.encode(text).length)
      }),
    )
  })
})

describe('isReservedForServer()', () => {
  it('keeps $SYS for the server', () => {
    for (const name of [
      '$SYS/',
      '$SYS/broker/uptime',
      '$SYS/broker/connection',
      '$SYS/broker/connection/state',
      '$SYS/broker/connection//state',
      '$SYS/broker/connection/a/b/state',
      '$SYS/broker/connection/a/states',
      '$SYS/broker/connection/a/state/x',
      '$SYS/x/broker/connection/a/state',
    ]) {
      assert.equal(isReservedForServer(name), true, name)
    }
  })
  it('leaves the rest to clients, and to bridges the topic of their state', () => {
    for (const name of ['a', '$SYS', '$other/x', '$SYSTEM/x', '$SYS/broker/connection/host.home/state']) {
      assert.equal(isReservedForServer(name), false, name)
    }
  })
})
