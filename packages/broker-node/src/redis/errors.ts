import { BrokerError } from '@midge/protocol-core'

/** @returns the error of the ports' contracts for an error of the client or of a script */
export function toBrokerError(error: unknown): BrokerError {
  if (error instanceof BrokerError) return error
  const text = textOf(error)
  if (text.startsWith('FENCED')) return new BrokerError('MIDGE_SESSION_FENCED', text.slice('FENCED '.length))
  if (text.startsWith('OWNED')) return new BrokerError('MIDGE_CLIENT_ID_OWNED', text.slice('OWNED '.length))
  return new BrokerError('MIDGE_STORE_UNAVAILABLE', `Redis: ${text}`, { retryable: true, cause: error })
}

/** @returns what went wrong, also for an error with several causes (IPv4 and IPv6), which has no text of its own */
export function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message === '' ? String((error as NodeJS.ErrnoException).code) : error.message
}

/**
 * True for an answer of a server that may not be written to: it was demoted, or is loading its data. Redis 6.2 puts the
 * word into the middle when a script ran into it: `ERR Error running script …: -READONLY You can't …`.
 */
export function isDemoted(error: unknown): boolean {
  return error instanceof Error && /(?:^|-)(?:READONLY|MASTERDOWN|LOADING)\b/.test(error.message)
}

/** True for an answer by which a Redis Cluster sends a command elsewhere: it has not been executed. */
export function isRedirection(reply: unknown): boolean {
  return reply instanceof Error && /^(?:MOVED|ASK|TRYAGAIN) /.test(reply.message)
}

/** True for an error that a server has sent, as opposed to one of the connection. */
export function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError'
}

/** The error of a call that a node makes, or waits with, while it is stopping. */
export function stopping(): BrokerError {
  return new BrokerError('MIDGE_STORE_UNAVAILABLE', 'the node is stopping')
}
