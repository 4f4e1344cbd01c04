import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { ApiFailure } from './api-client.ts'

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
  const first = await ask('Password: ')
  if (first !== (await ask('Again: '))) throw new ApiFailure('the two passwords differ')
  return first
}

function withoutLineEnd(text: string): string {
  return text.replace(/\r?\n$/, '')
}

/** Asks on the terminal without showing what is typed. */
function ask(question: string): Promise<string> {
  process.stderr.write(question)
  const lines = createInterface({ input: process.stdin, terminal: true })
  return new Promise(resolve => {
    lines.question('', answer => {
      lines.close()
      process.stderr.write('\n')
      resolve(answer)
    })
  })
}

/** @returns whether a person has said yes; without a terminal nobody can, and `--yes` says it */
export async function confirm(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new ApiFailure(`${question} Say so with --yes`)
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await new Promise<string>(resolve => lines.question(`${question} [y/N] `, resolve))
  lines.close()
  return /^y(es)?$/i.test(answer.trim())
}
