/**
 * How a connection ended, for its session: `fenced` when a newer connection owns the session, so the store is told
 * nothing; `goodbye` after a DISCONNECT that discards the will; `refused` when CONNECT was turned down; `error` for
 * every other end.
 */
export type CloseHow = 'fenced' | 'error' | 'goodbye' | 'refused'
