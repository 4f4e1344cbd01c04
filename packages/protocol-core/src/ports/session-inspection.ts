import type { InstanceName } from './instance-name.ts'

/** One session of the store, as somebody sees it who does not own it. */
export interface SessionRecordView {
  clientId: string
  /** Whose it is, `undefined` inside for an anonymous client; `undefined` where the record does not say. */
  owner: { username: string | undefined } | undefined
  /** Where its client is connected. */
  nodeId: string | undefined
  epoch: number
  /** 0 for a session that ends with its connection. */
  expirySeconds: number
  /** Places of the oldest and the newest entry of its queue; `tailSeq` is one less when it is empty. */
  headSeq: number
  tailSeq: number
  queueBytes: number
  subscriptionCount: number
  /** QoS 2 messages of the client that it has not released. */
  inboundCount: number
}

/** One page of {@link SessionInspection.listSessions}. */
export interface SessionPage {
  sessions: SessionRecordView[]
  cursor: string | undefined
}

/** Looking at sessions without owning them. Nothing here changes anything. */
export interface SessionInspection {
  /**
   * One page of the sessions that outlive their connection, in an order of the store's own. Pass the `cursor` of the last
   * page to go on; `undefined` ends. A session that is there during the whole walk appears exactly once, a page may be
   * short or empty while there is a cursor. A session without an end, a connection and subscriptions may be left out.
   */
  listSessions(instance: InstanceName, cursor: string | undefined, countMax: number): Promise<SessionPage>
  /** Also one that ends with its connection. */
  findSession(instance: InstanceName, clientId: string): Promise<SessionRecordView | undefined>
}
