// The load bench: the same cases against several brokers in one run. `npm run bench -- --help` tells the options.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { repositoryRoot } from '../../support/broker-under-test.ts'
import { BROKER_NAMES, type BrokerName, brokerVersion } from './brokers.ts'
import { type BenchCase, CASES } from './cases.ts'
import { describeRound, describeRun, markdownTable, type Results, type Round } from './report.ts'
import { runCase } from './run.ts'

const HELP = `npm run bench -- [options]
  --only midge,mosquitto,flashmq,nats,aedes   brokers (default: all that are installed)
  --case qos0-10x10,…                 cases (default: all): ${CASES.map(({ name }) => name).join(' ')}
  --seconds N                         measured interval of a round (default 4)
  --rounds N                          rounds, brokers take turns (default 3)
  --json FILE                         where the results go (default bench-results/<time>.json)
  --from FILE                         measure nothing, take the results of an earlier run
  --write-docs                        put the table into docs/performance.md and README.md
  --profile FOLDER                    Midge's nodes leave CPU profiles there; figures are then lower
  --micro [NAME…]                     the micro benches instead`
const DOCS = ['docs/performance.md', 'README.md'].map(name => join(repositoryRoot, name))
const [BEGIN, END] = ['<!-- bench:begin -->', '<!-- bench:end -->']

function fail(text: string): never {
  console.error(text)
  process.exit(2)
}

function pick<T>(what: string, wanted: string | undefined, all: readonly T[], nameOf: (item: T) => string): T[] {
  if (wanted === undefined) return [...all]
  return wanted.split(',').map(name => {
    const found = all.find(item => nameOf(item) === name)
    return found ?? fail(`unknown ${what} ${name}: one of ${all.map(nameOf).join(', ')}`)
  })
}

async function runRound(
  benchCase: BenchCase,
  broker: BrokerName,
  round: number,
  measureMs: number,
  profileFolder?: string,
): Promise<Round> {
  const head = { case: benchCase.name, broker, round }
  try {
    return { ...head, outcome: await runCase(benchCase, broker, measureMs, profileFolder) }
  } catch (error) {
    return { ...head, error: error instanceof Error ? error.message : String(error) }
  }
}

function writeDocs(results: Results): void {
  for (const path of DOCS) {
    const text = readFileSync(path, 'utf8')
    const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
    if (begin < 0 || end < begin) fail(`${path} has no ${BEGIN} … ${END}`)
    writeFileSync(path, `${text.slice(0, begin + BEGIN.length)}\n${markdownTable(results)}\n${text.slice(end)}`)
  }
}

/** What a run consists of. */
interface Plan {
  readonly cases: readonly BenchCase[]
  readonly brokers: readonly BrokerName[]
  readonly seconds: number
  readonly rounds: number
  readonly profileFolder: string | undefined
}

async function measure({ cases, brokers, seconds, rounds, profileFolder }: Plan): Promise<Results> {
  const done: Round[] = []
  for (const benchCase of cases) {
    for (let round = 1; round <= rounds; round++) {
      for (const broker of brokers) {
        if (benchCase.without.includes(broker)) continue
        const result = await runRound(benchCase, broker, round, seconds * 1000, profileFolder)
        console.log(describeRound(result))
        done.push(result)
      }
    }
  }
  return { ...describeRun(brokers, seconds), rounds: done }
}

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    case: { type: 'string' },
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'string' },
    from: { type: 'string' },
    profile: { type: 'string' },
    'write-docs': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(HELP)
  process.exit(0)
}
const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)]
if (!(seconds > 0) || !(rounds >= 1)) fail('--seconds and --rounds are numbers above 0')

let results: Results
if (values.from === undefined) {
  const cases = pick('case', values.case, CASES, ({ name }) => name)
  const brokers = pick('broker', values.only, BROKER_NAMES, name => name).filter(name => {
    if (brokerVersion(name) !== undefined) return true
    console.log(`${name} is not installed and is left out`)
    return false
  })
  results = await measure({ cases, brokers, seconds, rounds, profileFolder: values.profile })
  const path = resolve(values.json ?? join(repositoryRoot, `bench-results/${results.at.replace(/[:.]/g, '-')}.json`))
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(results, null, 1)}\n`)
  console.log(`\nresults: ${path}`)
} else {
  results = JSON.parse(readFileSync(values.from, 'utf8')) as Results
}
console.log(`\n${markdownTable(results)}`)
if (values['write-docs']) writeDocs(results)
if (results.rounds.some(({ error }) => error !== undefined)) process.exitCode = 1
