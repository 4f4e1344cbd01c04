import { BrokerError } from './errors.ts'
import type { InstanceName } from './ports/instance-name.ts'

/**
 * How a connection ended that another one has displaced: `goodbye`, it had said DISCONNECT, so its will is not to be
 * published; `released`, it was closed by the takeover or had broken, and its will stands; `unknown`, nobody can tell.
 */
export type TakeoverAnswer = 'goodbye' | 'released' | 'unknown'

/** What one node tells another to do. It travels in frames, like messages, because it has to arrive. */
export type NodeCommand =
  /** Close the connection of `epoch` or older, and answer under `request`. */
  | { kind: 'takeover'; request: number; instance: InstanceName; clientId: string; epoch: number }
  | { kind: 'takeoverAnswer'; request: number; answer: TakeoverAnswer }
  /** Close the connection of a client. */
  | { kind: 'kick'; instance: InstanceName; clientId: string; reasonCode: number }
  /** Take no new clients and move off those that are there. */
  | { kind: 'drain' }
  /** Whatever the rooms above the link ask each other; answered under `request`. */
  | { kind: 'question'; request: number; question: string }
  | { kind: 'answer'; request: number; answer: string }

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** @returns the command as JSON: commands are rare, and a later release may say more in one */
export function encodeNodeCommand(command: NodeCommand): Uint8Array {
  return encoder.encode(JSON.stringify(command))
}

/**
 * @returns `undefined` for a kind that this release does not know
 * @throws {@link BrokerError} `MIDGE_ENVELOPE_INVALID` for anything else that is not a command
 */
export function decodeNodeCommand(bytes: Uint8Array): NodeCommand | undefined {
  const fields = parse(bytes)
  const texts = (...names: string[]): boolean => names.every(name => typeof fields[name] === 'string')
  const counts = (...names: string[]): boolean => names.every(name => Number.isSafeInteger(fields[name]))
  switch (fields['kind']) {
    case 'takeover':
      if (!texts('instance', 'clientId') || !counts('request', 'epoch')) throw invalid('takeover')
      break
    case 'takeoverAnswer':
      if (!counts('request') || !ANSWERS.includes(fields['answer'])) throw invalid('answer to a takeover')
      break
    case 'kick':
      if (!texts('instance', 'clientId') || !counts('reasonCode')) throw invalid('kick')
      break
    case 'drain':
      break
    case 'question':
      if (!texts('question') || !counts('request')) throw invalid('question')
      break
    case 'answer':
      if (!texts('answer') || !counts('request')) throw invalid('answer to a question')
      break
    default:
      return undefined
  }
  // Its fields have just been looked at.
  return fields as unknown as NodeCommand
}

const ANSWERS: readonly unknown[] = ['goodbye', 'released', 'unknown'] satisfies TakeoverAnswer[]

function parse(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(bytes))
  } catch (cause) {
    throw invalid('JSON', cause)
  }
  if (typeof value !== 'object' || value === null) throw invalid('object')
  return value as Record<string, unknown>
}

function invalid(what: string, cause?: unknown): BrokerError {
  return new BrokerError('MIDGE_ENVELOPE_INVALID', `command between nodes is not valid: ${what}`, { cause })
}
