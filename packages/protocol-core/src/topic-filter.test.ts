import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { filterArbitrary, naiveMatches, topicArbitrary } from './topic-cases.test.support.ts'
import {
  checkFilterForm,
  checkTopicFilter,
  filterCovers,
  filtersOverlap,
  hasWildcard,
  matches,
  parseShare,
} from './topic-filter.ts'

describe('checkTopicFilter()', () => {
  const accepted = [
    'a',
    '/',
    '#',
    '+',
    '/#',
    '+/+',
    'a/#',
    '+/a/#',
    'a//+',
    '$SYS/#',
    '$share',
    '$shared/a',
    '__proto__/+',
    'room[12]/*',
    '$share/g/a',
    '$share/g/#',
    '$share/g//',
    '$share/$g/+/a',
    `$share/g/${Array(128).fill('+').join('/')}`,
    'ä/🏠/+',
  ]
  for (const filter of accepted) it(`accepts ${filter}`, () => assert.equal(checkTopicFilter(filter), 0))

  const refused = [
    '',
    'a#',
    '#a',
    '#/',
    '#/a',
    'a/#/b',
    '##',
    'a+',
    '+a',
    'a/+b',
    '++',
    'a/b+/c',
    'a\u0000',
    '\ud800',
    'a/\udfff/+',
    '$share/',
    '$share//a',
    '$share/g',
    '$share/g/',
    '$share/+/a',
    '$share/g#/a',
    '$share/g+h/a',
    '$share/g/a#',
    '$share/g/#/a',
    Array(129).fill('+').join('/'),
    `a/${'x'.repeat(65_534)}`,
    // Whole filters count, the share prefix too: 65,536 bytes in all.
    `$share/g/${'x'.repeat(65_527)}`,
  ]
  for (const filter of refused) {
    it(`refuses ${JSON.stringify(filter.slice(0, 40))} (${filter.length})`, () => {
      assert.equal(checkTopicFilter(filter), 0x8f)
    })
  }

  it('takes the bound on levels from its caller and counts them after the share prefix', () => {
    assert.equal(checkTopicFilter('$share/g/a/b', 2), 0)
    assert.equal(checkTopicFilter('$share/g/a/b/c', 2), 0x8f)
  })
})

describe('checkFilterForm()', () => {
  it('calls a wildcard out of place, and nothing at all, malformed in every version', () => {
    for (const filter of ['', 'a#', '#/a', 'a/#/b', '##', 'a+', '+a', 'a/b+/c', '$share/g/a#', '$share/g/#/a']) {
      for (const version of [3, 4, 5] as const) assert.equal(checkFilterForm(filter, version), 0x81, filter)
    }
  })
  it('v5 [MQTT-4.8.2-1] [MQTT-4.8.2-2] calls a share name malformed only where the standard has share names', () => {
    for (const filter of ['$share/', '$share//a', '$share/g', '$share/g/', '$share/+/a']) {
      assert.equal(checkFilterForm(filter, 5), 0x81, filter)
      for (const version of [3, 4] as const) assert.equal(checkFilterForm(filter, version), 0, filter)
    }
  })
  it('leaves bounds of the server to checkTopicFilter()', () => {
    for (const filter of ['$share/g/a', '#', '+', '/', '$SYS/#', Array(2000).fill('+').join('/')]) {
      assert.equal(checkFilterForm(filter, 5), 0, filter)
    }
  })
})

describe('parseShare()', () => {
  it('takes a shared filter apart', () => {
    assert.deepEqual(parseShare('$share/g/a/+'), { group: 'g', topicFilter: 'a/+' })
    assert.deepEqual(parseShare('$share/g//'), { group: 'g', topicFilter: '/' })
  })
  it('leaves other filters alone', () => {
    for (const filter of ['a', '$share', '$shared/g/a', 'x/$share/g/a']) assert.equal(parseShare(filter), undefined)
  })
})

describe('matches()', () => {
  const table: [string, string, boolean][] = [
    ['sport/tennis/player1', 'sport/tennis/player1/#', true],
    ['sport/tennis/player1/ranking', 'sport/tennis/player1/#', true],
    ['sport', 'sport/#', true],
    ['sports', 'sport/#', false],
    ['sport', 'sport/+', false],
    ['sport/', 'sport/+', true],
    ['sport/', 'sport/#', true],
    ['sport/a/b', 'sport/+', false],
    ['/finance', '+/+', true],
    ['/finance', '/+', true],
    ['/finance', '+', false],
    ['/', '+/+', true],
    ['/', '/', true],
    ['a', 'A', false],
    ['a', 'a/', false],
    ['a/', 'a', false],
    ['ab', 'a', false],
    ['a', 'ab', false],
    ['a/b', 'a/b/+', false],
    ['a/b', 'a/+/#', true],
    ['a', 'a/+/#', false],
    ['$SYS/x', '#', false],
    ['$SYS/x', '+/x', false],
    ['$SYS', '+', false],
    ['$SYS/x', '$SYS/#', true],
    ['$SYS/x', '$SYS/+', true],
    ['a/$SYS', 'a/+', true],
    ['a/$SYS', '#', true],
    ['é', 'e\u0301', false],
    ['__proto__', 'constructor', false],
    ['*', '+', true],
    ['a', '*', false],
  ]
  for (const [name, filter, expected] of table) {
    it(`${name} ${expected ? 'matches' : 'does not match'} ${filter}`, () =>
      assert.equal(matches(name, filter), expected))
  }

  it('agrees with a matcher that compares lists of levels', () => {
    fc.assert(
      fc.property(topicArbitrary, filterArbitrary, (name, filter) => {
        assert.equal(matches(name, filter), naiveMatches(name, filter))
      }),
      { numRuns: 5000 },
    )
  })
})

describe('filtersOverlap()', () => {
  const table: [string, string, boolean][] = [
    ['a', 'a', true],
    ['a', 'b', false],
    ['owntracks/+/+', 'owntracks/jane/nokia', true],
    ['owntracks/+/+', 'owntracks/jane/nokia/event', false],
    ['owntracks/+/+', 'owntracks/#', true],
    ['a/#', 'a', true],
    ['a/+', 'a', false],
    ['a/+', '+/b', true],
    ['a/b/#', 'a/+/c', true],
    ['a/b/#', '+/c/#', false],
    ['#', '$SYS/x', false],
    ['+/x', '$SYS/x', false],
    ['$SYS/+', '$SYS/x', true],
    ['#', '/', true],
    ['+', '/', false],
    ['+', '/#', false],
    ['+', '+/#', true],
    ['a/+/#', 'a', false],
  ]
  for (const [a, b, expected] of table) {
    it(`${a} and ${b}: ${expected}`, () => {
      assert.equal(filtersOverlap(a, b), expected)
      assert.equal(filtersOverlap(b, a), expected)
    })
  }

  it('is true whenever a name matches both', () => {
    fc.assert(
      fc.property(topicArbitrary, filterArbitrary, filterArbitrary, (name, a, b) => {
        if (naiveMatches(name, a) && naiveMatches(name, b)) assert.ok(filtersOverlap(a, b), `${name}: ${a} ${b}`)
      }),
      { numRuns: 20_000 },
    )
  })

  it('is true only when a name can be made that matches both', () => {
    fc.assert(
      fc.property(filterArbitrary, filterArbitrary, (a, b) => {
        const witness = witnesses(a, b).some(name => naiveMatches(name, a) && naiveMatches(name, b))
        assert.equal(filtersOverlap(a, b), witness, `${a} ${b}`)
      }),
      { numRuns: 5000 },
    )
  })
})

describe('filterCovers()', () => {
  const table: [string, string, boolean][] = [
    ['a', 'a', true],
    ['a', 'b', false],
    ['#', 'a/#', true],
    ['a/#', '#', false],
    ['a/#', 'a', true],
    ['a/#', 'a/+/b', true],
    ['a/+', 'a/b', true],
    ['a/+', 'a/#', false],
    ['a/b', 'a/+', false],
    ['+/+', '+/+', true],
    ['+', 'a/b', false],
    ['a/b', 'a', false],
    ['#', '$SYS/x', false],
    ['+/x', '$SYS/x', false],
    ['$SYS/#', '$SYS/x', true],
  ]
  for (const [a, b, expected] of table) {
    it(`${a} over ${b}: ${expected}`, () => assert.equal(filterCovers(a, b), expected))
  }

  it('is true only when every name of the one matches the other', () => {
    fc.assert(
      fc.property(topicArbitrary, filterArbitrary, filterArbitrary, (name, a, b) => {
        if (filterCovers(a, b) && naiveMatches(name, b)) assert.ok(naiveMatches(name, a), `${name}: ${a} ${b}`)
      }),
      { numRuns: 20_000 },
    )
  })
})

/** Names that match both filters if any name does: literals where one has them, with and without the '#' level. */
function witnesses(a: string, b: string): string[] {
  const left = a.split('/')
  const right = b.split('/')
  const names: string[] = []
  const length = Math.max(left.length, right.length)
  for (let count = 1; count <= length; count++) {
    const levels: string[] = []
    for (let i = 0; i < count; i++) {
      const literal = [left[i], right[i]].find(level => level !== undefined && level !== '+' && level !== '#')
      levels.push(literal ?? 'other')
    }
    if (levels.join('/') !== '') names.push(levels.join('/'))
  }
  return names
}

describe('hasWildcard()', () => {
  it('tells exact filters from others', () => {
    assert.deepEqual(['a', '/', 'a/+', '#', '*'].map(hasWildcard), [false, false, true, true, false])
  })
})
