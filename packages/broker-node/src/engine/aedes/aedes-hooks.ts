import type { ConnectPacket, Message, SubscribeRequest } from '@midge/protocol-core'
import { isReservedForServer, ReasonCode } from '@midge/protocol-core'
import type { Claim, Login, LoginMethod, LoginStep } from '../../ports.ts'
import { type Client, isClient } from '../ground/client.ts'
import { describe } from '../ground/describe.ts'
import type { Hooks, Verdict } from '../ground/hooks.ts'
import { ClientView } from './client-view.ts'
import type { AedesHookSet, HookedBroker } from './hook-set.ts'
import { toAedesPublish, toReasonCode } from './translate.ts'

/** A hook that has not answered by then counts as a refusal: its client would wait for ever. */
const ANSWER_MAX_MS = 30_000

/**
 * Aedes' hooks and events behind the engine's `Hooks` port: callbacks become verdicts, its words the standard's.
 *
 * Hooks are looked up on the broker at every call, as Aedes does, so they may be replaced while it runs. Those that are
 * still the defaults are never called.
 */
export class AedesHooks implements Hooks, LoginMethod {
  private readonly broker: HookedBroker
  private readonly defaults: AedesHookSet

  private readonly views = new WeakMap<Client, ClientView>()
  // Asked for every message or delivery, so they are kept instead of looked up.
  filtersForward: boolean
  private hasPublishListener = false
  private hasPublishedHook: boolean

  constructor(broker: HookedBroker, defaults: AedesHookSet) {
    this.broker = broker
    this.defaults = defaults
    this.filtersForward = broker.authorizeForward !== defaults.authorizeForward
    this.hasPublishedHook = broker.published !== defaults.published
    onReplaced(broker, 'authorizeForward', hook => {
      this.filtersForward = hook !== defaults.authorizeForward
    })
    onReplaced(broker, 'published', hook => {
      this.hasPublishedHook = hook !== defaults.published
    })
    broker.on('newListener', (event: string) => {
      if (event === 'publish') this.hasPublishListener = true
    })
    broker.on('removeListener', (event: string) => {
      if (event === 'publish') this.hasPublishListener = broker.listenerCount('publish') > 0
    })
  }

  get allowRuns(): boolean {
    return !this.observesPublish && !this.filtersForward
  }

  get observesPublish(): boolean {
    return this.hasPublishListener || this.hasPublishedHook
  }

  preConnect(client: Client, packet: ConnectPacket): Promise<boolean> {
    if (this.broker.preConnect === this.defaults.preConnect) return Promise.resolve(true)
    return new Promise(resolve => {
      const connect = {
        cmd: 'connect',
        clientId: packet.clientId,
        username: packet.username,
        keepalive: packet.keepAliveSeconds,
        clean: packet.cleanStart,
      }
      this.broker.preConnect(this.viewOf(client), connect, (error, success) =>
        resolve(isAbsent(error) && success === true),
      )
    })
  }

  /** The `authenticate` hook as the first of the login methods; a default one leaves every claim to the others. */
  begin(claim: Claim): Login | undefined {
    const isOwn = this.broker.authenticate !== this.defaults.authenticate
    return isOwn && claim.method === undefined ? { step: () => this.authenticate(claim) } : undefined
  }

  private authenticate({ caller, username, password }: Claim): Promise<LoginStep> {
    if (!isClient(caller)) throw new TypeError('a claim of no connection')
    return new Promise(resolve => {
      const secret = password === undefined ? undefined : Buffer.from(password)
      this.broker.authenticate(this.viewOf(caller), username, secret, (error, success) => {
        if (isAbsent(error) && success === true) resolve({ kind: 'success', username, data: undefined })
        else resolve({ kind: 'failure', reasonCode: toReasonCode(error?.returnCode), reason: 'the authenticate hook' })
      })
    })
  }

  mayPublish(client: Client, message: Message): Verdict {
    const { authorizePublish } = this.broker
    if (authorizePublish === this.defaults.authorizePublish) {
      return isReservedForServer(message.topicName) ? ReasonCode.notAuthorized : 0
    }
    return verdictOf(answer =>
      authorizePublish.call(this.broker, this.viewOf(client), toAedesPublish(message), error =>
        answer(toVerdict(error)),
      ),
    )
  }

  maySubscribe(client: Client, request: SubscribeRequest): Verdict {
    const { authorizeSubscribe } = this.broker
    if (authorizeSubscribe === this.defaults.authorizeSubscribe) return 0
    const subscription = { topic: request.topicFilter, qos: request.qos }
    return verdictOf(answer =>
      authorizeSubscribe.call(this.broker, this.viewOf(client), subscription, (error, granted) => {
        if (isAbsent(granted)) {
          answer(ReasonCode.notAuthorized)
          return
        }
        // A hook may grant less than was asked for, not more.
        if (granted?.qos === 0 || (granted?.qos === 1 && request.qos === 2)) request.qos = granted.qos
        answer(toVerdict(error))
      }),
    )
  }

  mayForward(client: Client, message: Message): boolean {
    let isAllowed = false
    this.guarded(client, () => {
      isAllowed = !isAbsent(this.broker.authorizeForward(this.viewOf(client), toAedesPublish(message)))
    })
    return isAllowed
  }

  published(client: Client | undefined, message: Message): void {
    if (!this.observesPublish) return
    const packet = toAedesPublish(message)
    const view = client === undefined ? null : this.viewOf(client)
    this.guarded(client, () => this.broker.published(packet, view, () => undefined))
    this.guarded(client, () => this.broker.emit('publish', packet, view))
  }

  connected(client: Client): void {
    this.guarded(client, () => this.broker.onConnected(this.viewOf(client)))
  }

  ready(client: Client): void {
    this.emit(client, 'connackSent', { cmd: 'connack', returnCode: 0 }, this.viewOf(client))
    this.emit(client, 'clientReady', this.viewOf(client))
  }

  disconnected(client: Client): void {
    this.guarded(client, () => this.broker.onDisconnected(this.viewOf(client)))
  }

  subscribed(client: Client, requests: SubscribeRequest[]): void {
    if (this.broker.listenerCount('subscribe') === 0) return
    this.emit(
      client,
      'subscribe',
      requests.map(request => ({ topic: request.topicFilter, qos: request.qos })),
      this.viewOf(client),
    )
  }

  unsubscribed(client: Client, topicFilters: string[]): void {
    if (this.broker.listenerCount('unsubscribe') === 0) return
    this.emit(client, 'unsubscribe', topicFilters, this.viewOf(client))
  }

  pinged(client: Client): void {
    if (this.broker.listenerCount('ping') === 0) return
    this.emit(client, 'ping', { cmd: 'pingreq' }, this.viewOf(client))
  }

  silent(client: Client): void {
    this.emit(client, 'keepaliveTimeout', this.viewOf(client))
  }

  failed(client: Client, error: Error): void {
    const event = client.isEstablished ? 'clientError' : 'connectionError'
    this.emit(client, event, this.viewOf(client), error)
  }

  private viewOf(client: Client): ClientView {
    const known = this.views.get(client)
    if (known !== undefined) return known
    const view = new ClientView(client, message => this.broker.core.sendTo(client, message))
    // CONNECT may still change the id (an assigned one), so that a view is only kept once the session is there.
    if (client.isEstablished) this.views.set(client, view)
    return view
  }

  private emit(client: Client, event: string, ...args: unknown[]): void {
    this.guarded(client, () => this.broker.emit(event, ...args))
  }

  /** What throws in here is a bug of the application, and no client or other listener has to pay for it. */
  private guarded(client: Client | undefined, call: () => void): void {
    try {
      call()
    } catch (error) {
      const who = client === undefined ? {} : describe(client)
      this.broker.core.services.logger.error(
        { event: 'connection.bug', ...who, err: error },
        'a hook or listener has thrown',
      )
    }
  }
}

/** Calls `replaced` whenever the application sets another hook. */
function onReplaced<K extends 'authorizeForward' | 'published'>(
  broker: HookedBroker,
  name: K,
  replaced: (hook: HookedBroker[K]) => void,
): void {
  let current = broker[name]
  Object.defineProperty(broker, name, {
    configurable: true,
    enumerable: true,
    get: () => current,
    set: (hook: HookedBroker[K]) => {
      current = hook
      replaced(hook)
    },
  })
}

function isAbsent(value: unknown): boolean {
  return value === null || value === undefined
}

function toVerdict(error: Error | null | undefined): number {
  return isAbsent(error) ? 0 : ReasonCode.notAuthorized
}

/** A hook that answers at once costs no promise. */
function verdictOf(ask: (answer: (verdict: number) => void) => void): Verdict {
  let known: number | undefined
  let later: ((verdict: number) => void) | undefined
  ask(verdict => {
    if (later === undefined) known ??= verdict
    else later(verdict)
  })
  if (known !== undefined) return known
  return new Promise(resolve => {
    const timer = setTimeout(resolve, ANSWER_MAX_MS, ReasonCode.notAuthorized)
    timer.unref()
    later = verdict => {
      clearTimeout(timer)
      resolve(verdict)
    }
  })
}
