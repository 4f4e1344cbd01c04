import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { repositoryRoot } from './broker-under-test.ts'
import { within } from './until.ts'

const OUTPUT_CHARACTERS_MAX = 2_000_000

/** How a process ended. */
export interface ProcessEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** What to run. */
export interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  /** Start it as the leader of a process group of its own. */
  readonly detached?: boolean
}

const running = new Set<TestProcess>()
process.once('exit', () => {
  for (const one of running) one.kill('SIGKILL')
})

/** Ends everything that failed tests have left running, so that the test process can end. */
export async function killLeftovers(): Promise<void> {
  await Promise.all([...running].map(one => one.kill9()))
}

/** A program that a test has started. It never outlives the test process, whatever happens to the test. */
export class TestProcess {
  readonly name: string
  readonly child: ChildProcess
  readonly exited: Promise<ProcessEnd>
  stdout = ''
  stderr = ''

  constructor(name: string, command: string, args: readonly string[], options: ProcessOptions = {}) {
    this.name = name
    const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith('MIDGE_'))
    this.child = spawn(command, args, {
      cwd: repositoryRoot,
      env: { ...Object.fromEntries(inherited), ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: options.detached ?? false,
    })
    running.add(this)
    this.child.stdin?.on('error', () => {})
    this.child.stdin?.end(options.input ?? '')
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout = (this.stdout + chunk.toString()).slice(-OUTPUT_CHARACTERS_MAX)
    })
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr = (this.stderr + chunk.toString()).slice(-OUTPUT_CHARACTERS_MAX)
    })
    this.exited = once(this.child, 'close').then(([code, signal]) => {
      running.delete(this)
      return { code, signal }
    })
    // Whoever is interested awaits it; an error of `spawn` must not end the test process.
    this.exited.catch(() => running.delete(this))
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  get isRunning(): boolean {
    return this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null
  }

  /** Both outputs, for an error text. */
  tail(characters: number = 4000): string {
    const both = [this.stdout.slice(-characters), this.stderr.slice(-characters)].filter(text => text !== '')
    return `--- ${this.name} (pid ${this.pid})\n${both.join('\n')}`
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    if (this.isRunning) this.child.kill(signal)
  }

  /** `kill -9`; resolves when it is gone. */
  async kill9(): Promise<void> {
    if (this.isRunning) this.child.kill('SIGKILL')
    await within(`${this.name} to be gone after SIGKILL`, this.exited)
  }

  /** Waits for its end. @throws with its output when it does not come */
  async end(withinMs: number = 20_000): Promise<ProcessEnd> {
    return within(`the end of ${this.name}`, this.exited, withinMs).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.tail()}`)
    })
  }
}
