import { BrokerError } from '@midge/protocol-core'
import { ApiFailure } from './control/api-client.ts'

/** What the process tells whoever started it. */
export const ExitCode = {
  ok: 0,
  /** Something in the world or in the program failed. */
  failure: 1,
  /** The configuration or the command line has to change first; a restart would end the same way. */
  configuration: 2,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** Prints one line for a person, without a stack, and chooses the exit code. */
export function reportFailure(error: unknown): ExitCode {
  if (error instanceof BrokerError) {
    process.stderr.write(`midge: ${error.code}: ${error.message}\n`)
    return error.code === 'MIDGE_CONFIG_INVALID' ? ExitCode.configuration : ExitCode.failure
  }
  const text = error instanceof Error ? error.message : String(error)
  if (error instanceof ApiFailure) {
    process.stderr.write(`midge: ${text}\n`)
    return ExitCode.failure
  }
  process.stderr.write(`midge: unexpected: ${text}\n`)
  return ExitCode.failure
}
