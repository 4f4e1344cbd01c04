import { randomUUID } from 'node:crypto'
import {
  type AuthPacket,
  type ConnectPacket,
  decodeConnect,
  encodeConnack,
  encodeUtf8,
  FIXED_HEADER_BYTES_MAX,
  keepAliveTimeoutMs,
  Message,
  type OpenedSession,
  OutboundTopicAliases,
  PACKET_BYTES_MAX,
  type Properties,
  ProtocolError,
  parseShare,
  peekConnect,
  RECEIVE_MAXIMUM_DEFAULT,
  ReasonCode,
  returnCodeOf,
  SESSION_EXPIRY_NEVER,
  STRING_BYTES_MAX,
  type StoredWill,
  UnsupportedProtocolError,
  type Will,
} from '@midge/protocol-core'
import type { AuthenticationResult, Credentials } from '../../ports.ts'
import type { Connection } from '../connection/connection.ts'
import { describe } from '../connection/describe.ts'
import { Phase } from '../connection/phase.ts'
import type { Terms } from '../connection/terms.ts'
import { Session } from '../sessions/session.ts'
import { abandonSession, leaveGroups } from '../sessions/session-end.ts'
import { sendAuth } from './send-auth.ts'

/** QoS 1 and 2 messages in flight to a client of MQTT 3.x, which cannot name a Receive Maximum. */
const INFLIGHT_MAX_V3 = 1024
/** Topic aliases this server sets towards a client, whatever more the client would allow. */
const ALIASES_OUT_MAX = 64

/** A refused CONNECT. */
class Refusal {
  readonly reasonCode: number
  readonly text: string

  constructor(reasonCode: number, text: string) {
    this.reasonCode = reasonCode
    this.text = text
  }
}

/** CONNECT, from its bytes to CONNACK. The steps of an accepted one are the list in `admit`. */
export function handleConnect(
  connection: Connection,
  first: number,
  chunk: Uint8Array,
  bodyStart: number,
  bodyEnd: number,
): void {
  let packet: ConnectPacket
  try {
    packet = decodeConnect(first, chunk, bodyStart, bodyEnd)
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    connection.broker.onProtocolError(connection, error)
    refuseUndecoded(connection, error, peekConnect(chunk, bodyStart, bodyEnd).version)
    return
  }
  connection.version = packet.version
  connection.clientId = packet.clientId
  connection.phase = Phase.connecting
  connection.terms = termsOf(connection, packet)
  connection.waitFor(begin(connection, packet).catch((error: unknown) => refuseFor(connection, error)))
}

/** v5 [MQTT-3.1.4-1], v3.1.1 [MQTT-3.1.2-2]: an unknown level of a known protocol is answered, the rest is closed. */
function refuseUndecoded(connection: Connection, error: ProtocolError, version: 0 | 3 | 4 | 5): void {
  if (error instanceof UnsupportedProtocolError) {
    if (error.nameIsValid) {
      const code = error.isLater ? error.reasonCode : returnCodeOf(error.reasonCode)
      connection.send(encodeConnack(error.isLater ? 5 : 4, false, code))
    }
  } else if (version === 5) {
    connection.send(encodeConnack(5, false, error.reasonCode, { reasonString: error.text }))
  } else if (version !== 0 && returnCodeOf(error.reasonCode) > 0) {
    connection.send(encodeConnack(version, false, returnCodeOf(error.reasonCode)))
  }
  countRefusal(connection, error.reasonCode)
  connection.shut(error.text, 'refused')
}

function countRefusal(connection: Connection, reasonCode: number): void {
  connection.broker.counters.connectionsRefusedTotal++
  connection.broker.counters.closedWith(reasonCode)
}

function termsOf(connection: Connection, packet: ConnectPacket): Terms {
  const { properties, version } = packet
  const isV5 = version === 5
  return {
    keepAliveMs: keepAliveTimeoutMs(keepAliveOf(connection, packet)),
    receiveMax: isV5 ? (properties.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT) : INFLIGHT_MAX_V3,
    packetBytesMax: properties.maximumPacketSize ?? PACKET_BYTES_MAX,
    requestProblemInformation: properties.requestProblemInformation !== 0,
    sessionExpirySeconds: sessionExpiryOf(connection, packet),
    hasWill: packet.will !== undefined,
    authenticationMethod: properties.authenticationMethod,
    topicAliasMax: properties.topicAliasMaximum ?? 0,
  }
}

/** v5 [MQTT-3.2.2-21]: the server's own keep-alive replaces a longer one; 3.x clients cannot be told. */
function keepAliveOf(connection: Connection, packet: ConnectPacket): number {
  const max = connection.broker.limits.keepAliveSecondsMax
  const wished = packet.keepAliveSeconds
  return packet.version === 5 && max > 0 && (wished === 0 || wished > max) ? max : wished
}

/** A 3.x session that is not clean lives as long as the server lets sessions live. */
function sessionExpiryOf(connection: Connection, packet: ConnectPacket): number {
  const max = connection.broker.limits.sessionExpirySecondsMax
  const wished =
    packet.version === 5 ? (packet.properties.sessionExpiryInterval ?? 0) : packet.cleanStart ? 0 : SESSION_EXPIRY_NEVER
  return Math.min(wished, max)
}

async function begin(connection: Connection, packet: ConnectPacket): Promise<void> {
  const { hooks, connections, limits } = connection.broker
  if (connections.size > limits.connectionsMax) throw new Refusal(ReasonCode.serverBusy, 'too many connections')
  if (!(await hooks.preConnect(connection, packet)))
    throw new Refusal(ReasonCode.notAuthorized, 'refused before CONNECT')
  const method = connection.terms.authenticationMethod
  if (method === undefined) {
    await admit(connection, packet, await hooks.authenticate(connection, packet), undefined)
    return
  }
  const exchange = connection.broker.enhancedAuthenticator?.begin(method, credentialsOf(connection, packet))
  if (exchange === undefined)
    throw new Refusal(ReasonCode.badAuthenticationMethod, 'authentication method not supported')
  connection.exchange = exchange
  connection.pendingConnect = packet
  await stepOf(connection, packet.properties.authenticationData)
}

function credentialsOf(connection: Connection, packet: ConnectPacket): Credentials {
  const { info } = connection
  return {
    instance: info.instance,
    clientId: packet.clientId,
    username: packet.username,
    password: packet.password,
    certCommonName: info.certCommonName,
    remoteAddress: info.remoteAddress,
  }
}

/** One message of the client in an enhanced authentication, before CONNACK or again later. v5 section 4.12. */
async function stepOf(connection: Connection, data: Uint8Array | undefined): Promise<void> {
  const step = await connection.exchange?.step(data)
  if (step === undefined || connection.isClosed) return
  if (step.kind === 'continue') {
    sendAuth(connection, ReasonCode.continueAuthentication, step.data)
    return
  }
  connection.exchange = undefined
  const packet = connection.pendingConnect
  connection.pendingConnect = undefined
  if (step.kind === 'failure') {
    connection.broker.counters.authenticationFailures++
    if (packet !== undefined) throw new Refusal(step.reasonCode, 'authentication failed')
    // v5 [MQTT-4.12.1-2]: a failed re-authentication ends the connection.
    throw new ProtocolError(step.reasonCode, 'authentication failed')
  }
  if (packet !== undefined) await admit(connection, packet, { ok: true, username: step.username }, step.data)
  else if (step.username !== connection.username) throw new ProtocolError(ReasonCode.notAuthorized, 'another user')
  else sendAuth(connection, ReasonCode.success, step.data)
}

/** AUTH before CONNACK. v5 [MQTT-4.12.0-3]. */
export function continueAuthentication(connection: Connection, packet: AuthPacket): void {
  checkAuth(connection, packet, ReasonCode.continueAuthentication)
  const step = stepOf(connection, packet.properties.authenticationData)
  connection.waitFor(step.catch((error: unknown) => refuseFor(connection, error)))
}

/** AUTH of an open connection. v5 section 4.12.1. */
export function reauthenticate(connection: Connection, packet: AuthPacket): void {
  const isFirst = connection.exchange === undefined
  checkAuth(connection, packet, isFirst ? ReasonCode.reauthenticate : ReasonCode.continueAuthentication)
  if (isFirst) {
    const { broker, info } = connection
    const credentials: Credentials = {
      instance: info.instance,
      clientId: connection.clientId,
      username: undefined,
      password: undefined,
      certCommonName: info.certCommonName,
      remoteAddress: info.remoteAddress,
    }
    connection.exchange = broker.enhancedAuthenticator?.begin(connection.terms.authenticationMethod ?? '', credentials)
  }
  connection.waitFor(stepOf(connection, packet.properties.authenticationData))
}

/** v5 [MQTT-4.12.0-5], [MQTT-4.12.0-7]: the method never changes, and without one there is no AUTH. */
function checkAuth(connection: Connection, packet: AuthPacket, expected: number): void {
  const { authenticationMethod } = connection.terms
  if (authenticationMethod === undefined || packet.properties.authenticationMethod !== authenticationMethod) {
    throw new ProtocolError(ReasonCode.protocolError, 'authentication method differs from CONNECT')
  }
  if (packet.reasonCode !== expected) throw new ProtocolError(ReasonCode.protocolError, 'AUTH out of place')
}

/** The steps from known credentials to CONNACK. */
async function admit(
  connection: Connection,
  packet: ConnectPacket,
  result: AuthenticationResult,
  authenticationData: Uint8Array | undefined,
): Promise<void> {
  const { broker } = connection
  if (connection.isClosed) return
  if (!result.ok) {
    broker.counters.authenticationFailures++
    throw new Refusal(result.reasonCode, 'not authorized')
  }
  connection.username = result.username
  const isAssigned = packet.clientId === ''
  if (isAssigned) connection.clientId = `midge-${randomUUID()}`
  const will = await checkedWill(connection, packet.will)
  // A will that DISCONNECT has discarded must not be fired as that of a displaced connection.
  await broker.endingOf(connection.info.instance, connection.clientId)
  if (connection.isClosed) return
  await broker.whileOpening(connection.info.instance, connection.clientId, async hints => {
    const opened = await broker.store.open({
      instance: connection.info.instance,
      clientId: connection.clientId,
      nodeId: broker.nodeId,
      cleanStart: packet.cleanStart,
      sessionExpirySeconds: connection.terms.sessionExpirySeconds,
      will,
      nowMs: broker.nowMs(),
    })
    const session = openSession(connection, opened)
    takeOverPrevious(connection, opened)
    // v5 [MQTT-3.1.2-4]: after CONNACK no node may store for a subscription of the session that was ended.
    if (opened.endedSubscriptions.length > 0) await broker.directory.settled()
    if (connection.isClosed) {
      await abandon(connection, session)
      return
    }
    const isNewest = broker.register(session)
    sendConnack(connection, packet, opened.sessionPresent, isAssigned, authenticationData)
    if (isNewest) {
      resume(connection, session, opened)
      if (opened.sessionPresent) session.queue?.onGrew(hints.tailSeq)
      leaveEndedGroups(connection, opened)
    }
    // v5 [MQTT-3.14.0-1]: no DISCONNECT before CONNACK, so a connection that lost a race is told both.
    else connection.close(ReasonCode.sessionTakenOver, 'session taken over', { isFenced: true })
  })
}

/** After `register`, which makes a displaced connection of this node leave them too. */
function leaveEndedGroups(connection: Connection, opened: OpenedSession): void {
  const { broker, info } = connection
  const filters = opened.endedSubscriptions.map(subscription => subscription.topicFilter)
  leaveGroups(broker, info.instance, filters).catch((error: unknown) =>
    broker.onBackgroundFailure('end of a share group', error),
  )
}

/** A will that the client may not publish is refused now: later there would be nobody to tell. */
async function checkedWill(connection: Connection, will: Will | undefined): Promise<StoredWill | undefined> {
  if (will === undefined) return undefined
  const message = new Message({
    topicName: will.topicName,
    topicBytes: encodeUtf8(will.topicName),
    payload: will.payload,
    qos: will.qos,
    retain: will.retain,
    properties: will.properties,
    expiresAtMs: 0,
    publisherId: connection.clientId,
  })
  if ((await connection.broker.hooks.mayPublish(connection, message)) !== 0) {
    throw new Refusal(ReasonCode.notAuthorized, 'will topic not allowed')
  }
  return { message, willDelaySeconds: will.willDelaySeconds, messageExpirySeconds: will.messageExpirySeconds ?? -1 }
}

function openSession(connection: Connection, opened: OpenedSession): Session {
  const { limits } = connection.broker
  return new Session({
    instance: connection.info.instance,
    clientId: connection.clientId,
    epoch: opened.epoch,
    // A resumed session keeps its queue even if this connection is to be its last one.
    isStored: connection.terms.sessionExpirySeconds > 0 || opened.sessionPresent,
    connection,
    receiveMax: Math.min(
      connection.terms.receiveMax,
      RECEIVE_MAXIMUM_DEFAULT,
      Math.max(limits.receiveMax, INFLIGHT_MAX_V3),
    ),
    queue: opened,
  })
}

function takeOverPrevious(connection: Connection, opened: OpenedSession): void {
  const { broker, info, clientId } = connection
  const { previous } = opened
  for (const subscription of opened.endedSubscriptions) {
    broker.directory.removeStored(info.instance, clientId, subscription.topicFilter)
  }
  // A displaced connection of this node is closed by `register`.
  if (previous === undefined) return
  if (previous.nodeId !== broker.nodeId) broker.link.takeover(previous.nodeId, info.instance, clientId, previous.epoch)
  // Its will may be due with the takeover.
  broker.pokeSweeper()
}

/** The client went away while the store was opening its session. */
async function abandon(connection: Connection, session: Session): Promise<void> {
  const { broker } = connection
  await abandonSession(broker, session)
}

function sendConnack(
  connection: Connection,
  packet: ConnectPacket,
  sessionPresent: boolean,
  isAssigned: boolean,
  authenticationData: Uint8Array | undefined,
): void {
  const { broker, version } = connection
  connection.phase = Phase.open
  if (version !== 5) {
    connection.send(encodeConnack(version, sessionPresent, 0))
    return
  }
  const { limits } = broker
  const properties: Properties = {
    receiveMaximum: limits.receiveMax,
    maximumPacketSize: limits.maxPacketBytes,
    topicAliasMaximum: limits.topicAliasMax,
  }
  if (isAssigned) properties.assignedClientIdentifier = connection.clientId
  const { sessionExpirySeconds, authenticationMethod } = connection.terms
  if (sessionExpirySeconds !== (packet.properties.sessionExpiryInterval ?? 0)) {
    properties.sessionExpiryInterval = sessionExpirySeconds
  }
  const keepAlive = keepAliveOf(connection, packet)
  if (keepAlive !== packet.keepAliveSeconds) properties.serverKeepAlive = keepAlive
  // v5 [MQTT-3.1.2-28]: only to a client that asked.
  if (packet.properties.requestResponseInformation === 1) {
    properties.responseInformation = `response/${connection.clientId}`
  }
  if (authenticationMethod !== undefined) properties.authenticationMethod = authenticationMethod
  if (authenticationData !== undefined) properties.authenticationData = authenticationData
  connection.send(encodeConnack(5, sessionPresent, 0, properties))
}

function resume(connection: Connection, session: Session, opened: OpenedSession): void {
  const { broker, info } = connection
  connection.session = session
  const aliasMax = connection.terms.topicAliasMax
  if (aliasMax > 0) connection.aliasesOut = new OutboundTopicAliases(Math.min(aliasMax, ALIASES_OUT_MAX))
  // A frame may leave larger than it came in: with the name for an alias, and properties where there were none.
  const plainBytesMax = broker.limits.maxPacketBytes + STRING_BYTES_MAX + FIXED_HEADER_BYTES_MAX
  connection.takesPlainFrames = aliasMax === 0 && connection.terms.packetBytesMax >= plainBytesMax
  connection.inbound.allowAliases(connection.version === 5 ? broker.limits.topicAliasMax : 0)
  for (const packetId of opened.inboundPacketIds) session.inboundIds.add(packetId)
  const router = broker.routerOf(info.instance)
  const known = router.storedSubscriptions(connection.clientId)
  for (const subscription of opened.subscriptions) {
    session.subscriptions.set(subscription.topicFilter, subscription)
    router.addLive(session, subscription)
    // A node may have died between the session's record and the directory: the record is the truth.
    if (known?.has(subscription.topicFilter) !== true) {
      broker.directory.addStored(info.instance, connection.clientId, subscription)
    }
    broker.updateRoute(info.instance, subscription.topicFilter)
  }
  broker.counters.subscriptionsCurrent += opened.subscriptions.length
  if (opened.sessionPresent) broker.counters.sessionsResumed++
  broker.hooks.connected(connection)
  if (broker.logger.isLevelEnabled('info')) {
    broker.logger.info(
      { event: 'client.connected', ...describe(connection), protocolVersion: connection.version },
      'client connected',
    )
  }
  session.pump()
  for (const subscription of opened.subscriptions) {
    if (parseShare(subscription.topicFilter) !== undefined) resumeGroup(connection, session, subscription.topicFilter)
  }
  broker.hooks.ready(connection)
}

function resumeGroup(connection: Connection, session: Session, group: string): void {
  const { groups } = connection.broker
  groups
    .resume(session, group)
    .then(() => groups.drain(session.instance, group))
    .catch((error: unknown) => connection.onStoreFailure(error))
}

/** Answers CONNECT with the reason, in the words of the client's version, and closes. */
function refuseFor(connection: Connection, error: unknown): void {
  if (connection.isClosed) return
  if (connection.phase === Phase.open) {
    // CONNACK is out: what failed now is not the CONNECT any more.
    connection.onStoreFailure(error)
    return
  }
  let refusal: Refusal
  if (error instanceof Refusal) refusal = error
  else if (error instanceof ProtocolError) refusal = new Refusal(error.reasonCode, error.text)
  else {
    connection.broker.onBackgroundFailure('CONNECT', error)
    refusal = new Refusal(ReasonCode.serverUnavailable, 'store not available')
  }
  const { version } = connection
  if (connection.broker.logger.isLevelEnabled('debug')) {
    connection.broker.logger.debug(
      { event: 'client.refused', ...describe(connection), reasonCode: refusal.reasonCode },
      refusal.text,
    )
  }
  if (version === 5) {
    connection.send(encodeConnack(5, false, refusal.reasonCode, connection.reasonProperties(refusal.text)))
  } else if (returnCodeOf(refusal.reasonCode) > 0) {
    connection.send(encodeConnack(version, false, returnCodeOf(refusal.reasonCode)))
  }
  countRefusal(connection, refusal.reasonCode)
  connection.shut(refusal.text, 'refused')
}
