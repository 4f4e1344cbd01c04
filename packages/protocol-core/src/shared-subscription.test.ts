import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { MemberRing } from './shared-subscription.ts'

const always = () => true

function ringOf(...members: string[]): MemberRing<string> {
  const ring = new MemberRing<string>()
  for (const member of members) ring.add(member)
  return ring
}

describe('MemberRing', () => {
  it('takes turns in the order of joining', () => {
    const ring = ringOf('a', 'b', 'c')
    assert.deepEqual(
      Array.from({ length: 7 }, () => ring.next(always)),
      ['a', 'b', 'c', 'a', 'b', 'c', 'a'],
    )
  })

  it('puts a new member at the end of the round', () => {
    const ring = ringOf('a', 'b')
    assert.equal(ring.next(always), 'a')
    assert.equal(ring.add('c'), true)
    assert.equal(ring.add('c'), false)
    assert.deepEqual(
      [1, 2, 3, 4].map(() => ring.next(always)),
      ['b', 'a', 'c', 'b'],
    )
  })

  it('passes over members that are not available, and answers undefined when none is', () => {
    const ring = ringOf('a', 'b', 'c')
    assert.equal(
      ring.next(member => member === 'c'),
      'c',
    )
    assert.equal(
      ring.next(member => member !== 'a'),
      'b',
    )
    assert.equal(
      ring.next(() => false),
      undefined,
    )
    assert.equal(ring.next(always), 'c')
    assert.equal(new MemberRing<string>().next(always), undefined)
  })

  it('passes the turn on when the member whose turn it is leaves', () => {
    const ring = ringOf('a', 'b', 'c')
    ring.next(always)
    assert.equal(ring.remove('b'), true)
    assert.equal(ring.remove('b'), false)
    assert.deepEqual(
      [1, 2, 3].map(() => ring.next(always)),
      ['c', 'a', 'c'],
    )
    ring.remove('a')
    ring.remove('c')
    assert.equal(ring.size, 0)
    assert.equal(ring.next(always), undefined)
    ring.add('d')
    assert.equal(ring.next(always), 'd')
  })

  it('agrees with a queue whose chosen member goes to the back, over any changes', () => {
    const callArbitrary = fc.tuple(fc.constantFrom('add', 'remove', 'next', 'next'), fc.nat(5))
    fc.assert(
      fc.property(fc.array(callArbitrary, { maxLength: 100, size: 'max' }), calls => {
        const ring = new MemberRing<number>()
        let queue: number[] = []
        for (const [call, member] of calls) {
          if (call === 'add') {
            assert.equal(ring.add(member), !queue.includes(member))
            if (!queue.includes(member)) queue.push(member)
          } else if (call === 'remove') {
            assert.equal(ring.remove(member), queue.includes(member))
            queue = queue.filter(other => other !== member)
          } else {
            // The members with an even number and `member` itself are available.
            const isAvailable = (other: number) => other % 2 === 0 || other === member
            const position = queue.findIndex(isAvailable)
            assert.equal(ring.next(isAvailable), queue[position])
            queue = [...queue.slice(position + 1), ...queue.slice(0, position + 1)]
          }
          assert.deepEqual(new Set(ring.values()), new Set(queue))
        }
      }),
    )
  })
})
