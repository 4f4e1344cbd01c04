import fc from 'fast-check'

/** Few enough to collide often; the awkward ones are all here. */
const LEVELS = ['', 'a', 'b', '$', '$SYS', '__proto__', 'constructor', '*', 'room[12]']

const literal: fc.Arbitrary<string> = fc.constantFrom(...LEVELS)
const literalOrPlus: fc.Arbitrary<string> = fc.oneof({ weight: 2, arbitrary: literal }, fc.constant('+'))

/** Valid Topic Names of up to five levels. */
export const topicArbitrary: fc.Arbitrary<string> = fc
  .array(literal, { minLength: 1, maxLength: 5 })
  .map(levels => levels.join('/'))
  .filter(name => name !== '')

/** Valid Topic Filters of up to five levels, without share prefix. */
export const filterArbitrary: fc.Arbitrary<string> = fc
  .tuple(fc.array(literalOrPlus, { maxLength: 4 }), fc.oneof(literalOrPlus, fc.constant('#')))
  .map(([levels, last]) => [...levels, last].join('/'))
  .filter(filter => filter !== '')

/** The rules of section 4.7 over lists of levels, as plainly as they can be said. */
export function naiveMatches(topicName: string, topicFilter: string): boolean {
  const names = topicName.split('/')
  const filters = topicFilter.split('/')
  if (topicName.startsWith('$') && (filters[0] === '+' || filters[0] === '#')) return false
  if (filters.at(-1) === '#') {
    filters.pop()
    if (names.length < filters.length) return false
    names.length = filters.length
  }
  return names.length === filters.length && filters.every((level, i) => level === '+' || level === names[i])
}
