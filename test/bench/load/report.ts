import { execFileSync } from 'node:child_process'
import { cpus, totalmem } from 'node:os'
import { repositoryRoot } from '../../support/broker-under-test.ts'
import { BROKER_NAMES, type BrokerName, brokerVersion } from './brokers.ts'
import { type BenchCase, CASES, type GoalFigure } from './cases.ts'
import type { Outcome } from './job.ts'

/** One broker in one round of one case. */
export interface Round {
  readonly case: string
  readonly broker: BrokerName
  readonly round: number
  readonly outcome?: Outcome
  readonly error?: string
}

/** Everything a run has found; what `--json` writes. */
export interface Results {
  readonly at: string
  readonly commit: string
  readonly node: string
  readonly hardware: { readonly cpu: string; readonly cores: number; readonly memoryGiB: number }
  readonly measureSeconds: number
  readonly versions: Partial<Record<BrokerName, string>>
  readonly rounds: readonly Round[]
}

function gitCommit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: repositoryRoot, encoding: 'utf8' }).trim()
    return git('rev-parse', '--short=12', 'HEAD') + (git('status', '--porcelain', '-uno') === '' ? '' : '+changes')
  } catch {
    return 'unknown'
  }
}

/** The heading of the results: on what and of what. */
export function describeRun(brokers: readonly BrokerName[], measureSeconds: number): Omit<Results, 'rounds'> {
  const [first] = cpus()
  const memoryGiB = Math.round(totalmem() / 2 ** 30)
  const versions: Partial<Record<BrokerName, string>> = {}
  for (const name of brokers) versions[name] = brokerVersion(name) ?? 'missing'
  return {
    at: new Date().toISOString(),
    commit: gitCommit(),
    node: process.version,
    hardware: { cpu: first?.model ?? 'unknown', cores: cpus().length, memoryGiB },
    measureSeconds,
    versions,
  }
}

/** @returns the middle value; `undefined` of nothing */
function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)]
}

interface Figure {
  readonly label: string
  readonly read: (outcome: Outcome) => number | undefined
  readonly format: (value: number) => string
  /** Less is better. */
  readonly isCost: boolean
}

const thousands = (value: number): string => Math.round(value).toLocaleString('en-US')
const rate = (value: number): string => (value >= 10_000 ? `${thousands(value / 1000)} k` : thousands(value))
const milliseconds = (value: number): string => `${value.toFixed(value < 10 ? 2 : 1)} ms`
const bytes = (value: number): string => `${(value / 1024).toFixed(1)} KiB`

const microseconds = (value: number): string => `${value.toFixed(value < 100 ? 1 : 0)} µs`

const p50: Figure = { label: 'p50', read: o => o.latencyMs?.p50, format: milliseconds, isCost: true }
const p99: Figure = { label: 'p99', read: o => o.latencyMs?.p99, format: milliseconds, isCost: true }
const cpu = (label: GoalFigure): Figure => ({ label, read: o => o.cpuMicrosEach, format: microseconds, isCost: true })

const FIGURES: Record<BenchCase['job']['kind'], readonly Figure[]> = {
  throughput: [{ label: 'msg/s', read: o => o.perSecond, format: rate, isCost: false }],
  latency: [p50, p99, { label: 'p99.9', read: o => o.latencyMs?.p999, format: milliseconds, isCost: true }],
  connections: [
    { label: 'connects/s', read: o => o.connectsPerSecond, format: thousands, isCost: false },
    { label: 'memory each', read: o => o.bytesPerConnection, format: bytes, isCost: true },
  ],
  fleet: [cpu('CPU per message'), p50, p99],
  connects: [cpu('CPU per connect')],
}

/** A line of the table: one figure of one case, a cell for each broker. */
interface Row {
  readonly title: string
  readonly cells: Map<BrokerName, string>
  readonly goal: string
}

function valuesOf(results: Results, caseName: string, broker: BrokerName, figure: Figure): number[] {
  return results.rounds
    .filter(round => round.case === caseName && round.broker === broker)
    .map(round => (round.outcome === undefined ? undefined : figure.read(round.outcome)))
    .filter(value => value !== undefined)
}

function goalText(benchCase: BenchCase, figure: Figure, medians: Map<BrokerName, number>): string {
  const ours = medians.get('midge')
  return benchCase.goals
    .filter(goal => goal.figure === figure.label)
    .map(({ against, ratio }) => {
      const theirs = medians.get(against)
      const wanted = `${figure.isCost ? '≤' : '≥'} ${ratio} × ${against}`
      if (ours === undefined || theirs === undefined) return wanted
      const reached = ours / theirs
      const isMet = figure.isCost ? reached <= ratio : reached >= ratio
      return `${wanted}: ${reached.toFixed(reached < 10 ? 2 : 1)} ${isMet ? 'met' : 'missed'}`
    })
    .join('; ')
}

function makeRow(results: Results, benchCase: BenchCase, figure: Figure): Row {
  const medians = new Map<BrokerName, number>()
  const all = new Map<BrokerName, number[]>()
  for (const broker of BROKER_NAMES) {
    const values = valuesOf(results, benchCase.name, broker, figure)
    const middle = median(values)
    if (middle === undefined) continue
    medians.set(broker, middle)
    all.set(broker, values)
  }
  const reference = medians.get('mosquitto')
  const cells = new Map<BrokerName, string>()
  for (const [broker, middle] of medians) {
    const ratio = reference === undefined || broker === 'mosquitto' ? '' : ` (${(middle / reference).toFixed(2)} ×)`
    const values = all.get(broker) ?? []
    const [low, high] = [figure.format(Math.min(...values)), figure.format(Math.max(...values))]
    cells.set(broker, `${figure.format(middle)}${ratio}${low === high ? '' : ` [${low}–${high}]`}`)
  }
  return { title: `${benchCase.title}, ${figure.label}`, cells, goal: goalText(benchCase, figure, medians) }
}

function rowsOf(results: Results): Row[] {
  const measured = new Set(results.rounds.map(round => round.case))
  return CASES.filter(({ name }) => measured.has(name)).flatMap(benchCase =>
    FIGURES[benchCase.job.kind].map(figure => makeRow(results, benchCase, figure)),
  )
}

/** The results as a Markdown table with the machine above it. */
export function markdownTable(results: Results): string {
  const brokers = BROKER_NAMES.filter(name => results.rounds.some(round => round.broker === name))
  const { cpu, cores, memoryGiB } = results.hardware
  const versions = brokers.map(name => `${name} ${results.versions[name] ?? ''}`).join(', ')
  const rounds = Math.max(0, ...results.rounds.map(({ round }) => round))
  const lines = [
    `Measured ${results.at.slice(0, 10)} at commit ${results.commit}: ${cpu}, ${cores} cores, ${memoryGiB} GiB, ` +
      `Node ${results.node}; ${versions}. Median [lowest–highest] of ${rounds} interleaved rounds of ` +
      `${results.measureSeconds} s; in parentheses the ratio to Mosquitto.`,
    '',
    `| Case | ${brokers.join(' | ')} | Goal |`,
    `|${'---|'.repeat(brokers.length + 2)}`,
  ]
  for (const row of rowsOf(results)) {
    lines.push(`| ${row.title} | ${brokers.map(name => row.cells.get(name) ?? '–').join(' | ')} | ${row.goal} |`)
  }
  return lines.join('\n')
}

/** CPU time of the broker for a message at its highest rate: it varies less than the rate when the machine is shared. */
function cpuOfRate({ brokerCores, perSecond }: Outcome): number | undefined {
  return perSecond === undefined ? undefined : (brokerCores / perSecond) * 1e6
}

/** One line about a round, for whoever watches. */
export function describeRound(round: Round): string {
  const head = `${round.case.padEnd(22)} ${round.broker.padEnd(10)}`
  const { outcome } = round
  if (outcome === undefined) return `${head} FAILED: ${round.error ?? ''}`
  const parts: string[] = []
  if (outcome.perSecond !== undefined) parts.push(`${thousands(outcome.perSecond)}/s`)
  const cpuMicrosEach = outcome.cpuMicrosEach ?? cpuOfRate(outcome)
  if (cpuMicrosEach !== undefined) parts.push(`CPU ${cpuMicrosEach.toFixed(3)} µs each`)
  if (outcome.latencyMs !== undefined) {
    const { p50, p99, p999, max } = outcome.latencyMs
    parts.push(`p50 ${p50.toFixed(3)} p99 ${p99.toFixed(3)} p99.9 ${p999.toFixed(3)} max ${max.toFixed(1)} ms`)
  }
  if (outcome.connectsPerSecond !== undefined) parts.push(`${thousands(outcome.connectsPerSecond)} connects/s`)
  if (outcome.bytesPerConnection !== undefined) parts.push(`${bytes(outcome.bytesPerConnection)} each`)
  parts.push(
    `cores: broker ${outcome.brokerCores.toFixed(2)}, generator ${outcome.generatorCores.toFixed(2)}, other ${outcome.otherCores.toFixed(2)}`,
  )
  if (outcome.dropped !== undefined && outcome.dropped !== 0) parts.push(`dropped ${thousands(outcome.dropped)}`)
  return `${head} ${parts.join('  ')}`
}
