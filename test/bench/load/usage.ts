import { readFileSync } from 'node:fs'

/** Clock ticks a second in /proc; fixed on Linux for all that matters here. */
const TICKS_PER_SECOND = 100
const PAGE_BYTES = 4096

function cpuSeconds(pid: number): number {
  try {
    // The name in parentheses may have spaces; the fields counted here come behind it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
  } catch {
    return 0
  }
}

/** CPU time of the whole machine without idling and waiting. */
function machineSeconds(): number {
  try {
    const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8')
      .split('\n', 1)
      .join('')
      .split(/\s+/)
      .slice(1)
      .map(Number)
    const ticks = [user, nice, system, irq, softirq].reduce<number>((sum, value) => sum + (value ?? 0), 0)
    return ticks / TICKS_PER_SECOND
  } catch {
    return 0
  }
}

/** Resident memory of some processes; 0 where there is no /proc. */
export function residentBytes(pids: readonly number[]): number {
  let bytes = 0
  for (const pid of pids) {
    try {
      bytes += Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE_BYTES
    } catch {
      return 0
    }
  }
  return bytes
}

/** Measures from its creation how many cores the brokers and this process use. */
export class UsageMeter {
  readonly #pids: readonly number[]
  readonly #startMs = performance.now()
  readonly #brokers: number
  readonly #machine = machineSeconds()
  readonly #own = process.cpuUsage()

  constructor(pids: readonly number[]) {
    this.#pids = pids
    this.#brokers = this.#total()
  }

  #total(): number {
    return this.#pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  }

  read(): { seconds: number; brokerCores: number; generatorCores: number; otherCores: number } {
    const seconds = (performance.now() - this.#startMs) / 1000
    const own = process.cpuUsage(this.#own)
    const brokerCores = (this.#total() - this.#brokers) / seconds
    const generatorCores = (own.user + own.system) / 1e6 / seconds
    const machineCores = (machineSeconds() - this.#machine) / seconds
    const otherCores = Math.max(0, machineCores - brokerCores - generatorCores)
    return { seconds, brokerCores, generatorCores, otherCores }
  }
}
