/**
 * Reason Codes of MQTT 5, by their names in the standard. Spec: v5 section 2.4.
 * `grantedQos0` and `normalDisconnection` share the byte of `success`.
 */
export const ReasonCode = {
  success: 0x00,
  grantedQos1: 0x01,
  grantedQos2: 0x02,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reauthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const

/** CONNACK return codes of MQTT 3.1 and 3.1.1. Spec: v3.1.1 section 3.2.2.3. */
export const ReturnCode = {
  accepted: 0,
  unacceptableProtocolVersion: 1,
  identifierRejected: 2,
  serverUnavailable: 3,
  badUserNameOrPassword: 4,
  notAuthorized: 5,
} as const

/**
 * Maps the Reason Code of a refused CONNECT to the return code that a 3.x client is told.
 *
 * A limit is never shown as a wrong password: clients stop reconnecting on 4 and 5, so everything that is not about
 * credentials or identity becomes 3 (server unavailable).
 *
 * @returns the return code, or -1 when a 3.x server closes without CONNACK (the packet itself was wrong)
 */
export function returnCodeOf(reasonCode: number): number {
  switch (reasonCode) {
    case ReasonCode.success:
      return ReturnCode.accepted
    case ReasonCode.malformedPacket:
    case ReasonCode.protocolError:
      return -1
    case ReasonCode.unsupportedProtocolVersion:
      return ReturnCode.unacceptableProtocolVersion
    case ReasonCode.clientIdentifierNotValid:
      return ReturnCode.identifierRejected
    case ReasonCode.badUserNameOrPassword:
      return ReturnCode.badUserNameOrPassword
    case ReasonCode.notAuthorized:
    case ReasonCode.banned:
    case ReasonCode.badAuthenticationMethod:
      return ReturnCode.notAuthorized
    default:
      return ReturnCode.serverUnavailable
  }
}
