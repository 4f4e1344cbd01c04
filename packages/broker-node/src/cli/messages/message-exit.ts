/** Exit codes of `midge pub` and `midge sub`; the first three are those of every command. */
export const MessageExit = {
  ok: 0,
  failure: 1,
  configuration: 2,
  /** No connection, or refused for another reason than the login. */
  refused: 3,
  /** Login, publish or subscription is not allowed. */
  notAuthorised: 4,
  /** Nobody answered, or too few messages came, in the time given. */
  timeout: 5,
} as const
