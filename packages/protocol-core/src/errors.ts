/** Codes of operational errors; match on these, never on the text. Documented in `docs/errors.md`. */
export type ErrorCode =
  | 'MIDGE_CONFIG_INVALID'
  | 'MIDGE_PORT_IN_USE'
  | 'MIDGE_STORE_UNAVAILABLE'
  | 'MIDGE_STORE_CORRUPT'
  | 'MIDGE_SESSION_FENCED'
  | 'MIDGE_NODE_ID_IN_USE'
  | 'MIDGE_ENVELOPE_INVALID'
  | 'MIDGE_LIBRARY_UNSUPPORTED'
  | 'MIDGE_RECORD_CONFLICT'
  | 'MIDGE_NOT_FOUND'
  | 'MIDGE_ALREADY_EXISTS'
  | 'MIDGE_INVALID'
  | 'MIDGE_PLAN_LIMIT'
  | 'MIDGE_CLIENT_ID_OWNED'
  | 'MIDGE_OUTBOUND_REFUSED'
  | 'MIDGE_OUTBOUND_FAILED'

/** The world is wrong: reported once, by whoever decides what to do about it. */
export class BrokerError extends Error {
  readonly code: ErrorCode
  /** The same call may be repeated and may then succeed. */
  readonly retryable: boolean

  constructor(code: ErrorCode, message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'BrokerError'
    this.code = code
    this.retryable = options.retryable ?? false
  }
}

/**
 * The peer is wrong: closes that connection with `reasonCode`. Not an `Error`, because it is thrown on a path that
 * any client can take as often as it likes and a stack trace costs more than the packet.
 */
export class ProtocolError {
  readonly reasonCode: number
  /** What was wrong, for the debug log and the Reason String; never client data. */
  readonly text: string

  constructor(reasonCode: number, text: string) {
    this.reasonCode = reasonCode
    this.text = text
  }
}
