import { readFileSync } from 'node:fs'
import { ApiFailure } from './api-client.ts'
import { Terminal } from './terminal.ts'

/** Where a password comes from; never from an argument, which other users of the machine can read. */
export interface SecretOptions {
  passwordFile?: string
  passwordStdin?: boolean
}

/** @throws ApiFailure when there is none, or two that were typed differ */
export async function readPassword({ passwordFile, passwordStdin }: SecretOptions): Promise<string> {
  const text = await readRaw(passwordFile, passwordStdin)
  if (text === '') throw new ApiFailure('the password is empty')
  return text
}

async function readRaw(passwordFile: string | undefined, passwordStdin: boolean | undefined): Promise<string> {
  if (passwordFile !== undefined) {
    try {
      return withoutLineEnd(readFileSync(passwordFile, 'utf8'))
    } catch (cause) {
      throw new ApiFailure(`cannot read ${passwordFile}`, { cause })
    }
  }
  if (passwordStdin === true) return withoutLineEnd(readFileSync(0, 'utf8'))
  if (!process.stdin.isTTY) {
    throw new ApiFailure('no terminal to ask for the password: give --password-stdin or --password-file')
  }
  return typedTwice()
}

async function typedTwice(): Promise<string> {
  const terminal = new Terminal({ isShown: false })
  try {
    const first = await terminal.ask('Password: ')
    const second = await terminal.ask('\nAgain: ')
    process.stderr.write('\n')
    if (first !== second) throw new ApiFailure('the two passwords differ')
    return first
  } finally {
    terminal.close()
  }
}

function withoutLineEnd(text: string): string {
  return text.replace(/\r?\n$/, '')
}

/** @returns whether a person has said yes; without a terminal nobody can, and `--yes` says it */
export async function confirm(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new ApiFailure(`${question} Say so with --yes`)
  }
  const terminal = new Terminal({ isShown: true })
  try {
    return /^y(es)?$/i.test((await terminal.ask(`${question} [y/N] `)).trim())
  } finally {
    terminal.close()
  }
}
