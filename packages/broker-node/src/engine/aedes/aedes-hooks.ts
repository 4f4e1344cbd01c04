import type { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import {
  BrokerError,
  type ConnectPacket,
  checkTopicFilter,
  checkTopicName,
  isReservedForServer,
  type Message,
  ReasonCode,
  returnCodeOf,
  type SubscribeRequest,
} from '@midge/protocol-core'
import type { Aedes, AedesPublishPacket } from 'aedes'
import type { Limits } from '../../config/schema.ts'
import type { Claim, Logger, Login, LoginMethod, LoginStep } from '../../ports.ts'
import type { BrokerCore } from '../broker-core.ts'
import { type Client, isClient } from '../ground/client.ts'
import { describe } from '../ground/describe.ts'
import type { Hooks, Review, Verdict } from '../ground/hooks.ts'
import { answerOf } from './answer.ts'
import type { AedesHookSet } from './hook-set.ts'
import { MidgeClient } from './midge-client.ts'
import { type AedesPublish, rewritten, takeChanges, toAedesConnect, toAedesPublish, toReasonCode } from './translate.ts'

/** What SUBACK says of a refused filter in Aedes' events, whatever the version of the client. */
const REFUSED_QOS = 128

/** What the hooks need beside the broker that they are set on. */
export interface AedesHooksParts {
  /** Aedes' own hooks: those that are still in place are not called. */
  defaults: AedesHookSet
  limits: Limits
  logger: Logger
  /** Asked for when a client is first there: it is made after its hooks. */
  core(): BrokerCore
  /** Clients of this node by id; absent when nobody is going to look there. */
  registry: Record<string, MidgeClient> | undefined
  /** Tells subscribers of `$SYS/<id>/…`; absent when nobody is to be told. */
  announce: ((name: string, payload: string) => void) | undefined
}

/**
 * Aedes' hooks and events behind the engine's `Hooks` port: callbacks become verdicts, its words the standard's.
 *
 * Hooks are looked up on the broker at every call, as Aedes does, so they may be replaced while it runs. Those that are
 * still the defaults are never called.
 */
export class AedesHooks implements Hooks, LoginMethod {
  private readonly broker: Aedes
  private readonly parts: AedesHooksParts
  private readonly defaults: AedesHookSet
  private readonly clients = new WeakMap<Client, MidgeClient>()
  // Asked for every message or delivery, so they are kept instead of looked up.
  filtersForward = false
  filtersPublish = false
  filtersSubscribe = false
  observesAck = false
  private hasPublishListener = false
  private hasPublishedHook = false

  constructor(broker: Aedes, parts: AedesHooksParts) {
    this.broker = broker
    this.parts = parts
    this.defaults = parts.defaults
    watch(broker, 'authorizeForward', hook => {
      this.filtersForward = hook !== parts.defaults.authorizeForward
    })
    watch(broker, 'authorizePublish', hook => {
      this.filtersPublish = hook !== parts.defaults.authorizePublish
    })
    watch(broker, 'authorizeSubscribe', hook => {
      this.filtersSubscribe = hook !== parts.defaults.authorizeSubscribe
    })
    watch(broker, 'published', hook => {
      this.hasPublishedHook = hook !== parts.defaults.published
    })
    // Aedes' types list its own events only.
    const emitter: EventEmitter = broker
    emitter.on('newListener', (event: string) => {
      if (event === 'publish') this.hasPublishListener = true
      else if (event === 'ack') this.observesAck = true
    })
    emitter.on('removeListener', (event: string) => {
      if (event === 'publish') this.hasPublishListener = emitter.listenerCount(event) > 0
      else if (event === 'ack') this.observesAck = emitter.listenerCount(event) > 0
    })
  }

  get allowRuns(): boolean {
    return !this.observesPublish && !this.filtersForward && !this.filtersPublish
  }

  get observesPublish(): boolean {
    return this.hasPublishListener || this.hasPublishedHook
  }

  /** The client of a peer, which is made when somebody first asks for it. */
  clientOf(peer: Client, request?: IncomingMessage): MidgeClient {
    let client = this.clients.get(peer)
    if (client === undefined) {
      client = new MidgeClient(this.broker, { client: peer, core: this.parts.core(), request })
      this.clients.set(peer, client)
    }
    return client
  }

  preConnect(peer: Client, packet: ConnectPacket): Promise<boolean> {
    if (this.broker.preConnect === this.defaults.preConnect) {
      const known = this.clients.get(peer)
      if (known !== undefined) known.isConnecting = true
      return Promise.resolve(true)
    }
    const client = this.clientOf(peer)
    client.isConnecting = true
    client.isUnasked = true
    const connect = toAedesConnect(packet)
    return new Promise(resolve => {
      this.broker.preConnect(client, connect, (error, success) => {
        const isWelcome = isAbsent(error) && success === true
        if (isWelcome) {
          takeChanges(packet, connect)
          client.isUnasked = false
        } else client.refusal = error ?? undefined
        resolve(isWelcome)
      })
    })
  }

  /** The `authenticate` hook as the first of the login methods; a default one leaves every claim to the others. */
  begin(claim: Claim): Login | undefined {
    const isOwn = this.broker.authenticate !== this.defaults.authenticate
    return isOwn && claim.method === undefined ? { step: () => this.authenticate(claim) } : undefined
  }

  private authenticate({ caller, username, password }: Claim): Promise<LoginStep> {
    if (!isClient(caller)) throw new TypeError('a claim of no connection')
    const client = this.clientOf(caller)
    return new Promise(resolve => {
      // Aedes' types hide that a client may come without a name and a password.
      const secret = password === undefined ? undefined : Buffer.from(password)
      this.broker.authenticate(client, username, secret, (error, success) => {
        if (isAbsent(error) && success === true) resolve({ kind: 'success', username, data: undefined })
        else {
          client.refusal = error ?? undefined
          resolve({ kind: 'failure', reasonCode: toReasonCode(error?.returnCode), reason: 'the authenticate hook' })
        }
      })
    })
  }

  /** Aedes' rule while there is no hook: what clients write to `$SYS` is refused, but for the state of bridges. */
  mayPublish(_client: Client, message: Message): number {
    return isReservedForServer(message.topicName) ? ReasonCode.notAuthorized : 0
  }

  reviewPublish(peer: Client, message: Message): Review | Promise<Review> {
    const packet = toAedesPublish(message)
    return answerOf<Review>(ReasonCode.notAuthorized, answer =>
      this.broker.authorizePublish(this.clientOf(peer), packet, error => {
        if (!isAbsent(error)) this.failed(peer, error)
        answer(isAbsent(error) ? this.checked(rewritten(message, packet), peer) : ReasonCode.notAuthorized)
      }),
    )
  }

  maySubscribe(peer: Client, request: SubscribeRequest): Verdict {
    if (!this.filtersSubscribe) return 0
    const subscription = { topic: request.topicFilter, qos: request.qos }
    return answerOf<number>(ReasonCode.notAuthorized, answer =>
      this.broker.authorizeSubscribe(this.clientOf(peer), subscription, (error, granted) => {
        if (!isAbsent(error)) this.failed(peer, error)
        if (!isAbsent(error) || isAbsent(granted)) {
          answer(ReasonCode.notAuthorized)
          return
        }
        request.qos = granted.qos
        request.topicFilter = granted.topic
        answer(checkTopicFilter(granted.topic, this.parts.limits.topicLevelsMax))
      }),
    )
  }

  reviewForward(peer: Client, message: Message, retain: boolean): Message | undefined {
    let result: Message | undefined
    this.guarded(peer, () => {
      const packet = { ...toAedesPublish(message), retain }
      // Aedes' types say `void` for what is `undefined`.
      const given = this.broker.authorizeForward(this.clientOf(peer), internal(packet)) as
        | AedesPublish
        | null
        | undefined
      if (isAbsent(given)) return
      if (given.qos !== message.qos && given.qos !== 0) {
        throw new BrokerError('MIDGE_LIBRARY_UNSUPPORTED', 'authorizeForward may lower the QoS of a packet only to 0')
      }
      const delivery = rewritten(message, given)
      if (checkTopicName(delivery.topicName, this.parts.limits.topicLevelsMax) !== 0) {
        throw new RangeError('authorizeForward wrote a topic that is no topic name')
      }
      result = delivery
    })
    return result
  }

  published(peer: Client | undefined, message: Message): Promise<void> | undefined {
    if (!this.observesPublish) return undefined
    const packet = internal(toAedesPublish(message))
    const client = peer === undefined ? null : this.clientOf(peer)
    let held: Promise<void> | undefined
    if (this.hasPublishedHook) {
      const answer = answerOf<Error | undefined>(undefined, done =>
        this.guarded(peer, () =>
          // Aedes' types hide that there is no client for messages of the broker.
          this.broker.published(packet, client as MidgeClient, error => done(error ?? undefined)),
        ),
      )
      if (answer instanceof Promise) held = answer.then(error => this.onPublished(peer, error))
      else this.onPublished(peer, answer)
    }
    this.guarded(peer, () => this.broker.emit('publish', packet, client))
    return held
  }

  acknowledged(peer: Client, packetId: number, message: Message | undefined): void {
    this.emit(peer, 'ack', client => [
      message === undefined
        ? { cmd: 'pubrel', messageId: packetId }
        : { ...toAedesPublish(message), messageId: packetId },
      client,
    ])
  }

  connected(peer: Client): void {
    const { announce, registry } = this.parts
    if (registry !== undefined) registry[peer.clientId] = this.clientOf(peer)
    this.broker.connectedClients++
    this.emit(peer, 'client', client => {
      client.isReady = false
      return [client]
    })
    announce?.('new/clients', peer.clientId)
  }

  ready(peer: Client, sessionPresent: boolean): void {
    this.emit(peer, 'connackSent', client => [{ cmd: 'connack', returnCode: 0, sessionPresent }, client])
    const known = this.clients.get(peer)
    if (known !== undefined) known.isReady = true
    this.emit(peer, 'clientReady', client => [client])
    if (known !== undefined) this.guarded(peer, () => known.emit('connected'))
  }

  refused(peer: Client, reasonCode: number, reason: string): void {
    const returnCode = returnCodeOf(reasonCode)
    this.emit(peer, 'connackSent', client => [{ cmd: 'connack', returnCode, sessionPresent: false }, client])
    this.failed(peer, this.clients.get(peer)?.refusal ?? new Error(reason))
  }

  disconnected(peer: Client, topicFilters: Iterable<string>): void {
    const { announce, registry } = this.parts
    const { clientId } = peer
    if (registry !== undefined && registry[clientId] === this.clientOf(peer)) delete registry[clientId]
    this.broker.connectedClients--
    this.emit(peer, 'clientDisconnect', client => [client])
    announce?.('disconnect/clients', clientId)
    // A session that ends with its connection ends its subscriptions too.
    if (peer.isClean && this.tells('unsubscribe')) this.unsubscribed(peer, [...topicFilters])
  }

  subscribed(peer: Client, requests: SubscribeRequest[], codes: number[]): void {
    if (!this.tells('subscribe')) return
    const subs = requests.map(({ topicFilter }, i) => {
      return { topic: topicFilter, qos: Math.min(codes[i] ?? REFUSED_QOS, REFUSED_QOS) }
    })
    this.emit(peer, 'subscribe', client => [subs, client])
    this.parts.announce?.('new/subscribes', JSON.stringify({ clientId: peer.clientId, subs }))
  }

  unsubscribed(peer: Client, topicFilters: string[]): void {
    if (topicFilters.length === 0 || !this.tells('unsubscribe')) return
    this.emit(peer, 'unsubscribe', client => [topicFilters, client])
    this.parts.announce?.('new/unsubscribes', JSON.stringify({ clientId: peer.clientId, subs: topicFilters }))
  }

  pinged(peer: Client): void {
    this.emit(peer, 'ping', client => [{ cmd: 'pingreq' }, client])
  }

  silent(peer: Client): void {
    this.emit(peer, 'keepaliveTimeout', client => [client])
    this.failed(peer, new Error('keep alive timeout'))
  }

  failed(peer: Client, error: Error): void {
    const known = this.clients.get(peer)
    const hasId = known?.hasId ?? peer.clientId !== ''
    this.emit(peer, hasId ? 'clientError' : 'connectionError', client => [client, error])
    if (known !== undefined && known.listenerCount('error') > 0) this.guarded(peer, () => known.emit('error', error))
  }

  private checked(message: Message, peer: Client): Review {
    const problem = checkTopicName(message.topicName, this.parts.limits.topicLevelsMax)
    if (problem !== 0) this.failed(peer, new RangeError('authorizePublish wrote a topic that is no topic name'))
    return problem === 0 ? message : problem
  }

  private onPublished(peer: Client | undefined, error: Error | undefined): void {
    if (error === undefined || peer === undefined) return
    this.failed(peer, error)
    peer.close(ReasonCode.unspecifiedError, 'refused by the published hook')
  }

  /** True when somebody is told of the event, here or under `$SYS`. */
  private tells(event: string): boolean {
    return this.parts.announce !== undefined || this.broker.listenerCount(event) > 0
  }

  /** Without a listener no client is made for it. */
  private emit(peer: Client, event: string, argsOf: (client: MidgeClient) => unknown[]): void {
    if (this.broker.listenerCount(event) === 0) return
    this.guarded(peer, () => this.broker.emit(event, ...argsOf(this.clientOf(peer))))
  }

  /** What throws in here is a bug of the application, and no client or other listener has to pay for it. */
  private guarded(peer: Client | undefined, call: () => void): void {
    try {
      call()
    } catch (error) {
      const who = peer === undefined ? {} : describe(peer)
      this.parts.logger.error({ event: 'connection.bug', ...who, err: error }, 'a hook or listener has thrown')
    }
  }
}

/** Calls `found` with the hook that the broker has, and with every other one that the application sets later. */
function watch<K extends keyof AedesHookSet>(broker: Aedes, name: K, found: (hook: Aedes[K]) => void): void {
  let current = broker[name]
  found(current)
  Object.defineProperty(broker, name, {
    configurable: true,
    enumerable: true,
    get: () => current,
    set: (hook: Aedes[K]) => {
      current = hook
      found(hook)
    },
  })
}

/** Aedes' own counters of a packet are not there: only its duplicate filter reads them. */
function internal(packet: object): AedesPublishPacket {
  return packet as AedesPublishPacket
}

function isAbsent(value: unknown): value is null | undefined {
  return value === null || value === undefined
}
