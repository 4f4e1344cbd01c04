import { randomUUID } from 'node:crypto'
import {
  type AuthPacket,
  type ConnectPacket,
  decodeConnect,
  encodeConnack,
  encodeUtf8,
  Message,
  NO_PROPERTIES,
  type OpenedSession,
  type Properties,
  ProtocolError,
  peekConnect,
  RECEIVE_MAXIMUM_DEFAULT,
  ReasonCode,
  type SessionStore,
  type StoredWill,
  type Subscription,
} from '@midge/protocol-core'
import type { Admitted } from '../../ports.ts'
import { type Bound, UNBOUND } from '../connection/bound.ts'
import type { Connection } from '../connection/connection.ts'
import type { Connections } from '../connection/connections.ts'
import { Phase } from '../connection/phase.ts'
import { reportBackgroundFailure } from '../ground/background-failure.ts'
import { ClientRights, type Rights } from '../ground/rights.ts'
import type { EngineServices } from '../ground/services.ts'
import type { ConnectionSlot } from '../limits/connection-slots.ts'
import type { InstanceUsage } from '../limits/instance-usage.ts'
import type { Usages } from '../limits/usages.ts'
import { Session, type SessionParts } from '../sessions/session.ts'
import type { SessionEnds } from '../sessions/session-ends.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'
import type { Authentication } from './authentication.ts'
import { connackProperties, outboundWindow, outputFormOf, termsOf } from './connect-terms.ts'
import { type EarlierParts, replaceEarlier } from './earlier-connections.ts'
import type { AdmittedClient } from './open-client.ts'
import { CONNACK_BODY_BYTES, Refusal, refusalOf, refuse, refuseUndecoded } from './refusal.ts'
import { leaveEndedGroups, type ResumeParts, resumeSession } from './resume-session.ts'

/** What CONNECT works with. */
export interface ConnectParts extends ResumeParts, EarlierParts {
  readonly services: ResumeParts['services'] &
    EarlierParts['services'] &
    Pick<EngineServices, 'door' | 'limits' | 'nowMs'> & { readonly store: SessionStore }
  readonly sessions: SessionRegistry
  readonly ends: SessionEnds
  readonly sessionParts: SessionParts
  readonly connections: Pick<Connections, 'size' | 'endAt'>
  readonly usages: Usages
  /** What the hooks say to every client's wishes. */
  readonly rights: Rights
}

/** A CONNECT on its way to CONNACK. */
interface Request {
  readonly packet: ConnectPacket
  readonly packetBytes: number
  /** As far as it is settled. */
  bound: Bound
  /** What CONNACK says besides its code, when that is known. */
  connack: Properties
}

/** Told while a CONNECT is handled. */
export interface ConnectEvents {
  /** The connection is counted, and has to be until it ends; it may have ended already. */
  onSlot(slot: ConnectionSlot): void
  /** Called with CONNACK, before anything is delivered. */
  onOpened(client: AdmittedClient): void
}

/** The CONNECT of one connection, from its bytes to CONNACK. The steps of an accepted one are the list in `admit`. */
export class ConnectHandler {
  private readonly parts: ConnectParts
  private readonly connection: Connection
  private readonly authentication: Authentication
  private readonly events: ConnectEvents
  /** The one that waits at the door. */
  private pending: Request | undefined = undefined

  constructor(
    parts: ConnectParts,
    peer: { connection: Connection; authentication: Authentication },
    events: ConnectEvents,
  ) {
    this.parts = parts
    this.connection = peer.connection
    this.authentication = peer.authentication
    this.events = events
  }

  /** CONNECT has come. */
  start(first: number, chunk: Uint8Array, bodyStart: number, bodyEnd: number): void {
    const { connection, parts } = this
    const { services } = parts
    let packet: ConnectPacket
    try {
      packet = decodeConnect(first, chunk, bodyStart, bodyEnd)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      connection.logProtocolError(error)
      refuseUndecoded(services, connection, { error, beginning: peekConnect(chunk, bodyStart, bodyEnd) })
      return
    }
    const bound: Bound = {
      ...UNBOUND,
      clientId: clientIdOf(packet),
      version: packet.version,
      terms: termsOf(packet, services.limits),
    }
    connection.bind(bound)
    const packetBytes = bodyEnd - bodyStart
    this.runStep(this.begin({ packet, packetBytes, bound, connack: NO_PROPERTIES }))
  }

  /** AUTH before CONNACK. v5 [MQTT-4.12.0-3]. */
  continue(packet: AuthPacket): void {
    this.authentication.check(packet, ReasonCode.continueAuthentication)
    this.runStep(this.authenticate(packet.properties.authenticationData))
  }

  private runStep(step: Promise<void>): void {
    this.connection.waitFor(step.catch((error: unknown) => this.refuseFor(error)))
  }

  private async refuseFor(error: unknown): Promise<void> {
    const { connection } = this
    const { services } = this.parts
    if (connection.isClosed) return
    if (connection.phase === Phase.open) {
      // CONNACK is out: what failed now is not the CONNECT any more.
      connection.onStoreFailure(error)
      return
    }
    let refusal = refusalOf(error)
    if (refusal === undefined) {
      reportBackgroundFailure(services, 'CONNECT', error)
      refusal = new Refusal(ReasonCode.serverUnavailable, 'store not available')
    }
    if (refusal.isLimit) await this.parts.usages.tarpit.wait()
    if (!connection.isClosed) refuse(services, connection, refusal)
  }

  private async begin(request: Request): Promise<void> {
    const { connection } = this
    const { connections, services } = this.parts
    const { hooks, limits } = services
    const { packet } = request
    if (connections.size > limits.connectionsMax) throw new Refusal(ReasonCode.serverBusy, 'too many connections')
    const clientIdBefore = packet.clientId
    if (!(await hooks.preConnect(connection, packet)))
      throw new Refusal(ReasonCode.notAuthorized, 'refused before CONNECT')
    // The hook may have written into the packet.
    const clientId = packet.clientId === clientIdBefore ? request.bound.clientId : clientIdOf(packet)
    request.bound = { ...request.bound, clientId, terms: termsOf(packet, limits) }
    connection.bind(request.bound)
    const { username, password, properties } = packet
    this.authentication.begin({
      info: connection.info,
      protocolVersion: packet.version,
      clientId,
      username,
      password,
      method: properties.authenticationMethod,
      packetBytes: request.packetBytes,
      caller: connection,
    })
    this.pending = request
    await this.authenticate(properties.authenticationData)
  }

  /** One message of the client at the door. */
  private async authenticate(data: Uint8Array | undefined): Promise<void> {
    const step = await this.authentication.step(data)
    const request = this.pending
    if (step === undefined || request === undefined) return
    this.pending = undefined
    if (step.kind === 'refused') throw new Refusal(step.reasonCode, step.text)
    await this.admit(request, step.admitted, step.data)
  }

  /** The steps from a known identity to CONNACK; from here on the connection belongs to an instance. */
  private async admit(request: Request, admitted: Admitted, authenticationData: Uint8Array | undefined): Promise<void> {
    const { connection } = this
    const { sessions } = this.parts
    const { instance } = admitted
    const { clientId } = request.bound
    const usage = this.parts.usages.of(instance)
    this.bindAdmitted(request, admitted, usage)
    if (admitted.expiresAtMs !== undefined) this.parts.connections.endAt(connection, admitted.expiresAtMs)
    await this.takePlace(request, admitted, usage)
    if (connection.isClosed) return
    request.connack = this.connackOf(request, authenticationData)
    const will = await this.checkedWill(request)
    // A will that DISCONNECT has discarded must not be fired as that of a displaced connection.
    await sessions.endingOf(instance, clientId)
    if (connection.isClosed) return
    await sessions.whileOpening(instance, clientId, async hints => {
      const opened = await this.withoutRefused(request, await this.openInStore(request, usage, will))
      const session = this.sessionOf(request, opened)
      await this.replaceEarlier(session, opened)
      if (connection.isClosed) {
        await this.parts.ends.abandon(session, 'fire')
        return
      }
      const isNewest = sessions.register(session)
      this.sendConnack(request, opened.sessionPresent)
      if (isNewest) {
        this.resume(request, session, opened)
        if (opened.sessionPresent) session.queue?.onGrew(hints.tailSeq)
        leaveEndedGroups(this.parts, session, opened)
      }
      // v5 [MQTT-3.14.0-1]: no DISCONNECT before CONNACK, so a connection that lost a race is told both.
      else connection.close(ReasonCode.sessionTakenOver, 'session taken over', { isFenced: true })
    })
  }

  private bindAdmitted(request: Request, admitted: Admitted, usage: InstanceUsage): void {
    const { instance, username, permissions } = admitted
    const { rights, services } = this.parts
    const { terms } = request.bound
    request.bound = {
      ...request.bound,
      instance,
      username,
      usage,
      rights: new ClientRights(permissions, rights),
      packetBytesMax: usage.packetBytesOf(services.limits.maxPacketBytes),
      terms: { ...terms, sessionExpirySeconds: usage.sessionExpiryOf(terms.sessionExpirySeconds) },
    }
    this.connection.bind(request.bound)
  }

  /** Counts the connection; never a reason code about its identity, because clients give up after one. */
  private async takePlace({ bound }: Request, { plan }: Admitted, usage: InstanceUsage): Promise<void> {
    const place = await usage.enter(bound, plan.connectionsMax)
    if (place === undefined) return
    if ('reasonCode' in place) throw new Refusal(place.reasonCode, place.text, true)
    this.events.onSlot(place)
  }

  private async replaceEarlier(session: Session, opened: OpenedSession): Promise<void> {
    const { ends, services } = this.parts
    try {
      await replaceEarlier(this.parts, session, opened)
    } catch (error) {
      // Refused, so its own will is not wanted. v5 [MQTT-3.1.2-7]
      ends
        .abandon(session, 'discard')
        .catch((failure: unknown) => reportBackgroundFailure(services, 'end of a session', failure))
      throw error
    }
  }

  /** A will that the client may not publish is refused now: later there would be nobody to tell. */
  private async checkedWill({ packet: { will }, bound }: Request): Promise<StoredWill | undefined> {
    if (will === undefined) return undefined
    const message = new Message({
      topicName: will.topicName,
      topicBytes: encodeUtf8(will.topicName),
      payload: will.payload,
      qos: will.qos,
      retain: will.retain,
      properties: will.properties,
      expiresAtMs: 0,
      publisherId: this.connection.clientId,
    })
    const { willDelaySeconds, messageExpirySeconds = -1 } = will
    const reviewed = await this.reviewedWill(bound.rights, message)
    const owner = this.parts.services.door.wills.ownerOf(bound.instance, bound, reviewed)
    return { message: reviewed, willDelaySeconds, messageExpirySeconds, owner }
  }

  private async reviewedWill(rights: Rights, message: Message): Promise<Message> {
    const review = rights.filtersPublish
      ? await rights.reviewPublish(this.connection, message)
      : rights.mayPublish(this.connection, message)
    if (typeof review === 'object') return review
    if (review !== 0) throw new Refusal(ReasonCode.notAuthorized, 'will topic not allowed')
    return message
  }

  private async openInStore(
    { packet, bound }: Request,
    usage: InstanceUsage,
    will: StoredWill | undefined,
  ): Promise<OpenedSession> {
    const { nodeId, nowMs, store } = this.parts.services
    const { instance, clientId } = bound
    const { sessionExpirySeconds } = bound.terms
    try {
      return await store.open({
        instance,
        clientId,
        username: bound.username,
        nodeId,
        cleanStart: packet.cleanStart,
        sessionExpirySeconds,
        will,
        nowMs: nowMs(),
        storedSessionsMax: sessionExpirySeconds > 0 ? usage.sessionsMax : undefined,
      })
    } catch (error) {
      const turned = usage.turnedByStore(error, clientId)
      throw turned === undefined ? error : new Refusal(turned.reasonCode, turned.text, true)
    }
  }

  /** What a resumed session was once granted may not be allowed any more: then it is as if it had been unsubscribed. */
  private async withoutRefused({ bound }: Request, opened: OpenedSession): Promise<OpenedSession> {
    const { connection } = this
    const { directory, store } = this.parts.services
    const { instance, clientId } = bound
    // Only of hooks: what its permissions do not allow is kept from the client at each delivery.
    const { rights } = this.parts
    if (!rights.filtersSubscribe) return opened
    const subscriptions: Subscription[] = []
    const refused: string[] = []
    for (const subscription of opened.subscriptions) {
      // A copy: a hook may write into it, but what was granted is not changed.
      const verdict = await rights.maySubscribe(connection, { ...subscription })
      if (verdict === 0) subscriptions.push(subscription)
      else refused.push(subscription.topicFilter)
    }
    if (refused.length === 0) return opened
    for (const topicFilter of refused) directory.removeStored(instance, clientId, topicFilter)
    await store.removeSubscriptions(instance, clientId, opened.epoch, refused)
    return { ...opened, subscriptions }
  }

  private sessionOf({ bound }: Request, opened: OpenedSession): Session {
    const { instance, clientId, terms } = bound
    return new Session(this.parts.sessionParts, {
      instance,
      clientId,
      epoch: opened.epoch,
      // A resumed session keeps its queue even if this connection is to be its last one.
      isStored: terms.sessionExpirySeconds > 0 || opened.sessionPresent,
      outlet: this.connection,
      expirySeconds: terms.sessionExpirySeconds,
      hasWill: terms.hasWill,
      receiveMax: outboundWindow(terms, this.parts.services.limits),
      queue: opened,
      usage: bound.usage,
    })
  }

  /**
   * What CONNACK is going to say besides its code: found before the session is opened, so that a client which does not
   * take it leaves nothing behind. v5 [MQTT-3.1.2-24]
   */
  private connackOf({ packet, bound }: Request, authenticationData: Uint8Array | undefined): Properties {
    if (bound.version !== 5) return NO_PROPERTIES
    const { limits } = this.parts.services
    const properties = connackProperties({ packet, ...bound, limits, authenticationData })
    const fitted = this.connection.fitted(properties, CONNACK_BODY_BYTES)
    if (fitted === undefined) {
      throw new Refusal(ReasonCode.packetTooLarge, "CONNACK is larger than the client's Maximum Packet Size")
    }
    return fitted
  }

  private sendConnack({ bound, connack }: Request, sessionPresent: boolean): void {
    const { connection } = this
    connection.open({ ...bound, ...outputFormOf(bound.terms, this.parts.services.limits) })
    connection.send(encodeConnack(bound.version, sessionPresent, 0, connack))
  }

  private resume({ bound, connack }: Request, session: Session, opened: OpenedSession): void {
    const { rights, terms, instance } = bound
    const client: AdmittedClient = {
      connection: this.connection,
      session,
      router: this.parts.routers.of(instance),
      rights,
      isBridge: terms.isBridge,
      // What CONNACK leaves out is at the standard's default.
      receiveMax: connack.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT,
      topicAliasMax: connack.topicAliasMaximum ?? 0,
      usage: this.parts.usages.of(instance),
    }
    this.events.onOpened(client)
    resumeSession(this.parts, client, opened)
  }
}

/** The server chooses for a client that brings none. */
function clientIdOf({ clientId }: ConnectPacket): string {
  return clientId === '' ? `midge-${randomUUID()}` : clientId
}
