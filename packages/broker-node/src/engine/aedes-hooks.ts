import type { ConnectPacket, Message, SubscribeRequest } from '@midge/protocol-core'
import { ReasonCode } from '@midge/protocol-core'
import type { AuthenticationResult } from '../ports.ts'
import type { AedesHookSet, MidgeBroker } from './broker.ts'
import { ClientView } from './client-view.ts'
import type { Connection } from './connection.ts'
import type { Hooks, Verdict } from './hooks.ts'
import { toAedesPublish, toReasonCode } from './translate.ts'

const SYS_PREFIX = '$SYS/'

/**
 * Aedes' hooks and events behind the engine's `Hooks` port: callbacks become verdicts, its words the standard's.
 *
 * Hooks are looked up on the broker at every call, as Aedes does, so they may be replaced while it runs. Those that are
 * still the defaults are never called.
 */
export class AedesHooks implements Hooks {
  private readonly broker: MidgeBroker
  private readonly defaults: AedesHookSet

  constructor(broker: MidgeBroker, defaults: AedesHookSet) {
    this.broker = broker
    this.defaults = defaults
  }

  get allowRuns(): boolean {
    return !this.observesPublish && !this.filtersForward
  }

  get observesPublish(): boolean {
    return this.broker.published !== this.defaults.published || this.broker.listenerCount('publish') > 0
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
        resolve(error === null && success === true),
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
        if (error === null && success === true) resolve({ ok: true, username: packet.username })
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
        answer(granted === null || granted === undefined ? ReasonCode.notAuthorized : toVerdict(error))
      }),
    )
  }

  mayForward(connection: Connection, message: Message): boolean {
    const forwarded = this.broker.authorizeForward(viewOf(connection), toAedesPublish(message))
    return forwarded !== null && forwarded !== undefined
  }

  published(connection: Connection | undefined, message: Message): void {
    if (!this.observesPublish) return
    const packet = toAedesPublish(message)
    const view = connection === undefined ? null : viewOf(connection)
    this.broker.published(packet, view, () => undefined)
    this.broker.emit('publish', packet, view)
  }

  connected(connection: Connection): void {
    this.broker.onConnected(viewOf(connection))
  }

  ready(connection: Connection): void {
    this.broker.emit('connackSent', { cmd: 'connack', returnCode: 0 }, viewOf(connection))
    this.broker.emit('clientReady', viewOf(connection))
  }

  disconnected(connection: Connection): void {
    this.broker.onDisconnected(viewOf(connection))
  }

  subscribed(connection: Connection, requests: SubscribeRequest[]): void {
    if (this.broker.listenerCount('subscribe') === 0) return
    this.broker.emit(
      'subscribe',
      requests.map(request => ({ topic: request.topicFilter, qos: request.qos })),
      viewOf(connection),
    )
  }

  unsubscribed(connection: Connection, topicFilters: string[]): void {
    if (this.broker.listenerCount('unsubscribe') > 0) this.broker.emit('unsubscribe', topicFilters, viewOf(connection))
  }

  pinged(connection: Connection): void {
    if (this.broker.listenerCount('ping') > 0) this.broker.emit('ping', { cmd: 'pingreq' }, viewOf(connection))
  }

  silent(connection: Connection): void {
    this.broker.emit('keepaliveTimeout', viewOf(connection))
  }

  failed(connection: Connection, error: Error): void {
    const event = connection.session === undefined ? 'connectionError' : 'clientError'
    this.broker.emit(event, viewOf(connection), error)
  }
}

function viewOf(connection: Connection): ClientView {
  // CONNECT may still change the id (an assigned one), so that a view is only kept once the session is there.
  if (connection.session === undefined) return new ClientView(connection)
  connection.view ??= new ClientView(connection)
  return connection.view
}

function toVerdict(error: Error | null | undefined): number {
  return error === null || error === undefined ? 0 : ReasonCode.notAuthorized
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
    later = resolve
  })
}
