import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decideAcl } from './acl-decision.ts'
import { type NamedRule, RuleBook } from './rule-book.ts'

function rule(id: string, type: NamedRule['type'], pattern: string, username?: string): NamedRule {
  return { id, type, pattern, read: true, write: true, username }
}

function mayPublish(book: RuleBook, username: string | undefined, topic: string): boolean {
  const who = { trees: book.of(username), identity: { username, clientId: 'c' } }
  return decideAcl(who, { access: 'publish', topic, qos: 0, retain: false }).allowed
}

test('a rule is for one user, for all that have a name, or for those that have none', () => {
  const book = new RuleBook()
  book.put(rule('1', 'topic', 'own', 'anna'))
  book.put(rule('2', 'pattern', 'dev/%u'))
  book.put(rule('3', 'anonymous', 'open'))
  const answers = ['anna', 'bert', undefined].map(username =>
    ['own', 'dev/anna', 'dev/bert', 'open'].map(topic => mayPublish(book, username, topic)),
  )
  assert.deepEqual(answers, [
    [true, true, false, false],
    [false, false, true, false],
    [false, false, false, true],
  ])
})

test('a rule that is put again replaces itself, also when it is for somebody else then', () => {
  const book = new RuleBook()
  book.put(rule('1', 'topic', 'a', 'anna'))
  book.put(rule('1', 'topic', 'b', 'anna'))
  assert.deepEqual([mayPublish(book, 'anna', 'a'), mayPublish(book, 'anna', 'b'), book.size], [false, true, 1])
  book.put(rule('1', 'topic', 'b', 'bert'))
  assert.deepEqual([mayPublish(book, 'anna', 'b'), mayPublish(book, 'bert', 'b')], [false, true])
  book.remove('1')
  book.remove('2')
  assert.deepEqual([mayPublish(book, 'bert', 'b'), book.size, book.find('1')], [false, 0, undefined])
})

test('nothing is left when it is cleared', () => {
  const book = new RuleBook()
  book.put(rule('1', 'topic', 'a', 'anna'))
  book.put(rule('2', 'pattern', 'a'))
  book.put(rule('3', 'anonymous', 'a'))
  book.clear()
  assert.deepEqual([mayPublish(book, 'anna', 'a'), mayPublish(book, undefined, 'a'), book.size], [false, false, 0])
})
