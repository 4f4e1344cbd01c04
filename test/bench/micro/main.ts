// `npm run bench -- --micro [name…]`: one hot function a file, nanoseconds for each operation.
import { cpus } from 'node:os'
import { run as copy } from './copy.ts'
import { run as decode } from './decode.ts'
import { run as filterIndex } from './filter-index.ts'
import { sinkValue } from './measure.ts'
import { run as nodeFrame } from './node-frame.ts'
import { run as rules } from './rules.ts'

const BENCHES = new Map([
  ['decode', decode],
  ['copy', copy],
  ['filter-index', filterIndex],
  ['node-frame', nodeFrame],
  ['rules', rules],
])

const wanted = process.argv.slice(2)
const unknown = wanted.filter(name => !BENCHES.has(name))
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; there are ${[...BENCHES.keys()].join(', ')}`)
  process.exit(2)
}
console.log(`${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`)
for (const [name, run] of BENCHES) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  console.log(`\n${name}`)
  run()
}
console.log(`\n(checksum ${sinkValue()})`)
