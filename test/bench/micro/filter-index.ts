// Goal of the design: publishing with a million subscriptions costs at most 1.5 times what it costs with a thousand.
import { FilterIndex, type FilterNode } from '@midge/protocol-core'
import { compare, consume, measure, type Timing } from './measure.ts'

const SMALL = 1000
const LARGE = 1_000_000
const GOAL = 1.5
/** Topics that are published to again and again. */
const TOPICS = 256

/** Half exact filters, half with one wildcard; what matches a topic is the same in both sizes. */
function build(size: number): FilterIndex<number, number> {
  const index = new FilterIndex<number, number>()
  for (let i = 0; i < size; i++) {
    const device = `site/${i % 97}/device/${i >> 1}`
    index.add(i % 2 === 0 ? `${device}/state` : `${device}/+`, i, i)
  }
  return index
}

function measureIndex(index: FilterIndex<number, number>, size: number, what: string, topics: string[]): Timing {
  const found: FilterNode<number, number>[] = []
  return measure(`match, ${size.toLocaleString('en-US')} filters, ${what}`, count => {
    for (let i = 0; i < count; i++) {
      found.length = 0
      index.matchInto(topics[i & (TOPICS - 1)] ?? '', found)
      consume(found.length)
    }
  })
}

/** Prints the cost of a match in a small and in a large index. */
export function run(): void {
  const hits = Array.from({ length: TOPICS }, (_, i) => `site/${(2 * i) % 97}/device/${i}/state`)
  const misses = hits.map(topic => topic.replace('device', 'sensor'))
  const timings: [Timing, Timing][] = []
  const small = build(SMALL)
  const large = build(LARGE)
  for (const [what, topics] of [
    ['hits', hits],
    ['misses', misses],
  ] as const) {
    timings.push([measureIndex(small, SMALL, what, topics), measureIndex(large, LARGE, what, topics)])
  }
  for (const [few, many] of timings) compare(many.name, many, few, GOAL)
  let next = LARGE
  measure(`add and remove a filter among ${LARGE.toLocaleString('en-US')}`, count => {
    for (let i = 0; i < count; i++) {
      const filter = `site/1/device/${next++}/+`
      large.add(filter, 1, 1)
      large.remove(filter, 1)
    }
  })
}
