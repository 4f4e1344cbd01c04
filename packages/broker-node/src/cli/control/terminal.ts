import { createInterface, type Interface } from 'node:readline'
import { Writable } from 'node:stream'
import { ApiFailure } from './api-client.ts'

/** Questions to the person at the terminal, one after the other; to be closed, or the process waits for more. */
export class Terminal {
  private readonly lines: Interface
  /** What has been typed and not asked for: a paste may answer several questions at once. */
  private readonly typed: string[] = []
  private waiting: ((line: string | undefined) => void) | undefined
  private isClosed = false

  /** @param isShown - false when what is typed is a secret */
  constructor({ isShown }: { isShown: boolean }) {
    const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
    this.lines = createInterface({ input: process.stdin, output: isShown ? process.stderr : nowhere, terminal: true })
    this.lines.on('line', line => this.take(line))
    // Ctrl-C and Ctrl-D: nobody is going to answer.
    this.lines.on('SIGINT', () => this.lines.close())
    this.lines.on('close', () => {
      this.isClosed = true
      this.waiting?.(undefined)
    })
  }

  /** @throws ApiFailure when the terminal is closed without an answer */
  async ask(question: string): Promise<string> {
    process.stderr.write(question)
    const line = this.typed.shift() ?? (await this.nextLine())
    if (line === undefined) {
      process.stderr.write('\n')
      throw new ApiFailure('no answer was given, so nothing was done')
    }
    return line
  }

  close(): void {
    this.lines.close()
  }

  private take(line: string): void {
    const { waiting } = this
    this.waiting = undefined
    if (waiting === undefined) this.typed.push(line)
    else waiting(line)
  }

  private nextLine(): Promise<string | undefined> {
    if (this.isClosed) return Promise.resolve(undefined)
    return new Promise(resolve => {
      this.waiting = resolve
    })
  }
}
