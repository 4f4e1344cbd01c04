import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Ban } from '../tenancy/model/ban.ts'
import { BanBook, type BanQuestion } from './ban-book.ts'

const SOMEBODY: BanQuestion = { address: '198.51.100.7', clientId: 'c', username: 'anna' }
let lastId = 0

function ban(kind: Ban['kind'], value: string, untilMs?: number): Ban {
  const id = String(++lastId)
  return { id, kind, value, reason: '', createdAtMs: 0, ...(untilMs === undefined ? {} : { untilMs }) }
}

function bookOf(bans: Ban[], nowMs = 0): (question: Partial<BanQuestion>, instance?: string) => boolean {
  const book = new BanBook(
    instance => (instance === 'one' ? bans : []),
    () => nowMs,
  )
  return (question, instance = 'one') => book.isBanned(instance, { ...SOMEBODY, ...question })
}

test('who is banned by name, client id, address or range, in its instance only', () => {
  const isBanned = bookOf([
    ban('username', 'mallory'),
    ban('clientId', 'thief'),
    ban('address', '192.0.2.1'),
    ban('address', '203.0.113.0/24'),
    ban('address', '2001:db8:1::/48'),
  ])
  for (const question of [
    { username: 'mallory' },
    { clientId: 'thief' },
    { address: '192.0.2.1' },
    { address: '203.0.113.255' },
    { address: '2001:db8:1:2::3' },
  ]) {
    assert.ok(isBanned(question), JSON.stringify(question))
    assert.ok(!isBanned(question, 'other'))
  }
  for (const question of [
    {},
    { username: undefined },
    { username: 'thief', clientId: 'mallory' },
    { address: '192.0.2.2' },
    { address: '203.0.114.0' },
    { address: '2001:db8:2::1' },
    { address: '' },
  ]) {
    assert.ok(!isBanned(question), JSON.stringify(question))
  }
})

test('a ban ends when it says so, and one of several is enough', () => {
  const bans = [ban('username', 'anna', 100), ban('username', 'anna', 50), ban('address', '198.51.100.0/24', 80)]
  assert.ok(bookOf(bans, 79)({ username: 'bert' }))
  assert.ok(!bookOf(bans, 80)({ username: 'bert' }))
  assert.ok(bookOf(bans, 99)({ username: 'anna' }))
  assert.ok(!bookOf(bans, 100)({ username: 'anna' }))
})

test('a change counts from the next question on', () => {
  const bans: Ban[] = []
  const book = new BanBook(
    () => bans,
    () => 0,
  )
  assert.ok(!book.isBanned('one', SOMEBODY))
  bans.push(ban('username', 'anna'))
  book.changed('one')
  assert.ok(book.isBanned('one', SOMEBODY))
  bans.pop()
  book.changed('one')
  assert.ok(!book.isBanned('one', SOMEBODY))
})

test('ten thousand ranges cost a stranger next to nothing', () => {
  const isBanned = bookOf(Array.from({ length: 10_000 }, (_, n) => ban('address', `10.${n >> 8}.${n & 255}.0/24`)))
  isBanned({})
  const startMs = performance.now()
  for (let n = 0; n < 100; n++) assert.ok(!isBanned({}))
  const eachMs = (performance.now() - startMs) / 100
  assert.ok(eachMs < 5, `${eachMs} ms`)
  assert.ok(isBanned({ address: '10.39.15.200' }))
})
