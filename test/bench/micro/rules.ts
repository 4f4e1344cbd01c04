// A publisher asks once for each of its topics; that is to cost microseconds however many rules an instance has.
import { decideAcl, RuleBook } from '@midge/protocol-core'
import { consume, measure } from './measure.ts'

const SIZES = [10, 1000, 100_000]
/** Topics that are asked for again and again. */
const TOPICS = 256

function build(size: number): RuleBook {
  const book = new RuleBook()
  for (let n = 0; n < size; n++) {
    const pattern = `site/${n % 97}/device/${n}/%u/#`
    book.put({ id: String(n), type: 'pattern', pattern, read: true, write: true })
  }
  return book
}

/** Prints the cost of a decision by the number of rules. */
export function run(): void {
  for (const size of SIZES) {
    const who = { trees: build(size).of('anna'), identity: { username: 'anna', clientId: 'c' } }
    const topics = Array.from({ length: TOPICS }, (_, i) => `site/${(i % size) % 97}/device/${i % size}/anna/state`)
    measure(`publish, ${size.toLocaleString('en-US')} rules`, count => {
      let allowed = 0
      for (let i = 0; i < count; i++) {
        const topic = topics[i & (TOPICS - 1)] ?? ''
        if (decideAcl(who, { access: 'publish', topic, qos: 0, retain: false }).allowed) allowed++
      }
      consume(allowed)
    })
  }
}
