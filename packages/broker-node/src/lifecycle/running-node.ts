/** What a person needs to connect to the default instance. */
export interface Details {
  nodeId: string
  instance: string
  /** Name or address to tell clients; never a wildcard address. */
  host: string
  /** Ports that are really bound; `undefined` where the listener is off. */
  tcpPort: number | undefined
  tlsPort: number | undefined
  wsPort: number | undefined
  wssPort: number | undefined
  /** Base address of the HTTP server; `undefined` when it is off. */
  httpUrl: string | undefined
  username: string
  /** `undefined` when another node, or somebody since, has set one that this node does not know. */
  password: string | undefined
  /** The password was made up by this node and is kept in its data folder. */
  isPasswordGenerated: boolean
  /** Opens the whole HTTP API; `undefined` when this node does not know it. */
  apiKey: string | undefined
  isAnonymousAllowed: boolean
  /** In words: `embedded in <folder>`, `memory`, or `Redis`. */
  store: string
}

/** A node that has been started; `startNode` of `compose/` makes it. */
export interface RunningNode {
  details(): Details
  /** Becomes unready, moves clients off, flushes, leaves the cluster; resolves when nothing is owed to anybody. */
  drain(): Promise<void>
  /** Lets go of everything at once. Idempotent; also right after `drain`. */
  stop(): Promise<void>
  /** Resolves with an exit code when the node has ended by itself. */
  done: Promise<number>
}
