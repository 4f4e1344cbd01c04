/** What CONNECT settled for the life of the connection. */
export interface Terms {
  readonly keepAliveMs: number
  /** Client's Receive Maximum. */
  readonly receiveMax: number
  /** Client's Maximum Packet Size; the protocol's own bound when it set none. */
  readonly packetBytesMax: number
  readonly requestProblemInformation: boolean
  readonly sessionExpirySeconds: number
  readonly hasWill: boolean
  /** A bridge of MQTT 3.x: it gets nothing of its own back, and RETAIN as it was published. */
  readonly isBridge: boolean
  readonly authenticationMethod: string | undefined
  /** Topic aliases the client accepts. */
  readonly topicAliasMax: number
}

/** Before CONNECT. */
export const NO_TERMS: Terms = {
  keepAliveMs: 0,
  receiveMax: 65_535,
  packetBytesMax: 0xffff_ffff,
  requestProblemInformation: true,
  sessionExpirySeconds: 0,
  hasWill: false,
  isBridge: false,
  authenticationMethod: undefined,
  topicAliasMax: 0,
}
