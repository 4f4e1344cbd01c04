import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'

/** What to run, and where its output goes. */
export interface ChildCommand {
  name: string
  command: string
  args: readonly string[]
  logFile: string
}

const LOG_TAIL_CHARACTERS = 400

/**
 * One program of the local cluster.
 *
 * It gets a process group of its own, so that Ctrl-C reaches only us and the order of the end is ours to choose.
 */
export class Child {
  readonly name: string
  readonly pid: number
  readonly logFile: string
  /** Resolves with words for how it ended. */
  readonly exited: Promise<string>
  private readonly process: ChildProcess

  private constructor(command: ChildCommand, child: ChildProcess) {
    this.name = command.name
    this.logFile = command.logFile
    this.process = child
    this.pid = child.pid ?? 0
    this.exited = once(child, 'exit').then(([code, signal]) => (signal === null ? `code ${code}` : String(signal)))
  }

  /** @throws the error of the system, with `code` `ENOENT` when there is no such program */
  static async start(command: ChildCommand): Promise<Child> {
    const log = openSync(command.logFile, 'a', 0o600)
    try {
      const child = spawn(command.command, command.args, { stdio: ['ignore', log, log], detached: true })
      await once(child, 'spawn')
      return new Child(command, child)
    } finally {
      closeSync(log)
    }
  }

  get isRunning(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null
  }

  /** Asks it to end, and ends it after `graceMs`; resolves when it is gone. */
  async stop(graceMs: number): Promise<void> {
    if (!this.isRunning) return
    this.process.kill('SIGTERM')
    const impatience = setTimeout(() => this.process.kill('SIGKILL'), graceMs)
    await this.exited
    clearTimeout(impatience)
  }

  kill(): void {
    if (this.isRunning) this.process.kill('SIGKILL')
  }

  /** The end of what it wrote, for an error text. */
  logTail(): string {
    return readFileSync(this.logFile, 'utf8').slice(-LOG_TAIL_CHARACTERS).trim()
  }
}
