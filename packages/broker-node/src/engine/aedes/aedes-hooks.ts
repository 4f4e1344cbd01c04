import type { ConnectPacket, Message, SubscribeRequest } from '@midge/protocol-core'
import { ReasonCode } from '@midge/protocol-core'
import type { AuthenticationResult } from '../../ports.ts'
import type { Connection } from '../connection/connection.ts'
import { describe } from '../connection/describe.ts'
import type { Hooks, Verdict } from '../ground/hooks.ts'
import type { AedesHookSet, MidgeBroker } from './broker.ts'
import { ClientView } from './client-view.ts'
import { toAedesPublish, toReasonCode } from './translate.ts'

const SYS_PREFIX = '$SYS/'
/** A hook that has not answered by then counts as a refusal: its client would wait for ever. */
const ANSWER_MAX_MS = 30_000

/**
 * Aedes' hooks and events behind the engine's `Hooks` port: callbacks become verdicts, its words the standard's.
 *
 * Hooks are looked up on the broker at every call, as Aedes does, so they may be replaced while it runs. Those that are
 * still the defaults are never called.
 */
export class AedesHooks implements Hooks {
  private readonly broker: MidgeBroker
  private readonly defaults: AedesHookSet

  /** Asked for every message, so it is kept instead of counted. */
  private hasPublishListener = false

  constructor(broker: MidgeBroker, defaults: AedesHookSet) {
    this.broker = broker
    this.defaults = defaults
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
    return this.hasPublishListener || this.broker.published !== this.defaults.published
  }

  get filtersForward(): boolean {
    return this.broker.authorizeForward !== this.defaults.authorizeForward
  }

  preConnect(connection: Connection, packet: ConnectPacket): Promise<boolean> {
    if (this.broker.preConnect === this.defaults.preConnect) return Promise.resolve(true)
    return new Promise(resolve => {
      const connect = {
        cmd: 'connect',
        clientId: packet.clientId,
        username: packet.username,
        keepalive: packet.keepAliveSeconds,
        clean: packet.cleanStart,
      }
      this.broker.preConnect(viewOf(connection), connect, (error, success) =>
        resolve(isAbsent(error) && success === true),
      )
    })
  }

  authenticate(connection: Connection, packet: ConnectPacket): Promise<AuthenticationResult> | AuthenticationResult {
    const own = this.broker.authenticator
    if (own !== undefined && this.broker.authenticate === this.defaults.authenticate) {
      const { info } = connection
      return own.authenticate({
        instance: info.instance,
        clientId: packet.clientId,
        username: packet.username,
        password: packet.password,
        certCommonName: info.certCommonName,
        remoteAddress: info.remoteAddress,
      })
    }
    return new Promise(resolve => {
      const password = packet.password === undefined ? undefined : Buffer.from(packet.password)
      this.broker.authenticate(viewOf(connection), packet.username, password, (error, success) => {
        if (isAbsent(error) && success === true) resolve({ ok: true, username: packet.username })
        else resolve({ ok: false, reasonCode: toReasonCode(error?.returnCode) })
      })
    })
  }

  mayPublish(connection: Connection, message: Message): Verdict {
    const { authorizePublish } = this.broker
    if (authorizePublish === this.defaults.authorizePublish) {
      return message.topicName.startsWith(SYS_PREFIX) ? ReasonCode.notAuthorized : 0
    }
    return verdictOf(answer =>
      authorizePublish.call(this.broker, viewOf(connection), toAedesPublish(message), error =>
        answer(toVerdict(error)),
      ),
    )
  }

  maySubscribe(connection: Connection, request: SubscribeRequest): Verdict {
    const { authorizeSubscribe } = this.broker
    if (authorizeSubscribe === this.defaults.authorizeSubscribe) return 0
    const subscription = { topic: request.topicFilter, qos: request.qos }
    return verdictOf(answer =>
      authorizeSubscribe.call(this.broker, viewOf(connection), subscription, (error, granted) => {
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

  mayForward(connection: Connection, message: Message): boolean {
    let isAllowed = false
    this.guarded(connection, () => {
      isAllowed = !isAbsent(this.broker.authorizeForward(viewOf(connection), toAedesPublish(message)))
    })
    return isAllowed
  }

  published(connection: Connection | undefined, message: Message): void {
    if (!this.observesPublish) return
    const packet = toAedesPublish(message)
    const view = connection === undefined ? null : viewOf(connection)
    this.guarded(connection, () => this.broker.published(packet, view, () => undefined))
    this.guarded(connection, () => this.broker.emit('publish', packet, view))
  }

  connected(connection: Connection): void {
    this.guarded(connection, () => this.broker.onConnected(viewOf(connection)))
  }

  ready(connection: Connection): void {
    this.emit(connection, 'connackSent', { cmd: 'connack', returnCode: 0 }, viewOf(connection))
    this.emit(connection, 'clientReady', viewOf(connection))
  }

  disconnected(connection: Connection): void {
    this.guarded(connection, () => this.broker.onDisconnected(viewOf(connection)))
  }

  subscribed(connection: Connection, requests: SubscribeRequest[]): void {
    if (this.broker.listenerCount('subscribe') === 0) return
    this.emit(
      connection,
      'subscribe',
      requests.map(request => ({ topic: request.topicFilter, qos: request.qos })),
      viewOf(connection),
    )
  }

  unsubscribed(connection: Connection, topicFilters: string[]): void {
    if (this.broker.listenerCount('unsubscribe') === 0) return
    this.emit(connection, 'unsubscribe', topicFilters, viewOf(connection))
  }

  pinged(connection: Connection): void {
    if (this.broker.listenerCount('ping') === 0) return
    this.emit(connection, 'ping', { cmd: 'pingreq' }, viewOf(connection))
  }

  silent(connection: Connection): void {
    this.emit(connection, 'keepaliveTimeout', viewOf(connection))
  }

  failed(connection: Connection, error: Error): void {
    const event = connection.session === undefined ? 'connectionError' : 'clientError'
    this.emit(connection, event, viewOf(connection), error)
  }

  private emit(connection: Connection, event: string, ...args: unknown[]): void {
    this.guarded(connection, () => this.broker.emit(event, ...args))
  }

  /** What throws in here is a bug of the application, and no client or other listener has to pay for it. */
  private guarded(connection: Connection | undefined, call: () => void): void {
    try {
      call()
    } catch (error) {
      const who = connection === undefined ? {} : describe(connection)
      this.broker.core.logger.error({ event: 'connection.bug', ...who, err: error }, 'a hook or listener has thrown')
    }
  }
}

function viewOf(connection: Connection): ClientView {
  // CONNECT may still change the id (an assigned one), so that a view is only kept once the session is there.
  if (connection.session === undefined) return new ClientView(connection)
  connection.view ??= new ClientView(connection)
  return connection.view
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
