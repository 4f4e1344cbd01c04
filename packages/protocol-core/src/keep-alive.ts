const TIMEOUT_MS_PER_SECOND = 1500

/**
 * @returns how long the server waits for a packet before it closes the connection: one and a half times the Keep
 * Alive; 0 when the client has turned it off. Spec: v5 [MQTT-3.1.2-22], v3.1.1 [MQTT-3.1.2-24].
 */
export function keepAliveTimeoutMs(keepAliveSeconds: number): number {
  return keepAliveSeconds * TIMEOUT_MS_PER_SECOND
}

/** @returns the Keep Alive of which {@link keepAliveTimeoutMs} is `timeoutMs` */
export function keepAliveSecondsOf(timeoutMs: number): number {
  return timeoutMs / TIMEOUT_MS_PER_SECOND
}
