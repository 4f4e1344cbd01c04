/** Bounds the engine holds clients to; names and meanings as under `limits` in docs/configuration.md. */
export interface EngineLimits {
  maxPacketBytes: number
  receiveMax: number
  inflightInboundMax: number
  onlineQueueMessages: number
  onlineQueueBytes: number
  sessionExpirySecondsMax: number
  keepAliveSecondsMax: number
  topicLevelsMax: number
  topicAliasMax: number
  connectTimeoutMs: number
  outputBufferBytesMax: number
  drainTimeoutMs: number
  subscriptionsPerSessionMax: number
  connectionsMax: number
}
