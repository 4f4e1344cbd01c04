/** The answer of `GET /status`. Fields are only ever added. */
export interface StatusReport {
  version: string
  nodeId: string
  uptimeSeconds: number
  ready: boolean
  /** Why it is not ready; empty when it is. */
  reasons: string[]
  durability: {
    setting: string
    /** What an acknowledgement to a publisher promises. */
    sentence: string
  }
  store: 'memory' | 'embedded' | 'redis'
  cluster: {
    /** Ids of the live nodes, this one included. */
    nodes: string[]
  }
  /** Ports that are bound. */
  listeners: { transport: string; host: string; port: number }[]
  /** Ports that instances have for themselves: how many are open here, and which another process has. */
  instancePorts: { open: number; failed: number[] }
  counts: {
    connections: number
    sessions: number
    subscriptions: number
    messagesReceived: number
    messagesSent: number
    messagesDropped: number
  }
  eventLoopLagMs: number
}
