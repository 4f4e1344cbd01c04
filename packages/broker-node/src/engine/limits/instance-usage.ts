import {
  BrokerError,
  type InstanceName,
  type QuotaStore,
  ReasonCode,
  type SlotLimit,
  type StoreLimits,
} from '@midge/protocol-core'
import type { Limits } from '../../config/schema.ts'
import type { InstancePlan } from '../../ports.ts'
import type { EngineServices } from '../ground/services.ts'
import type { Usage } from '../ground/usage.ts'
import { Allowance, type RateTerms } from './allowance.ts'
import { type ConnectionSlot, ConnectionSlots, type Guest } from './connection-slots.ts'
import { LimitReport } from './limit-report.ts'
import { InboundMeter, OutboundMeter } from './pace.ts'
import { TokenLender } from './token-lender.ts'

/** Seconds' worth of CONNECT packets that may come at once. */
const CONNECT_BURST_SECONDS = 10
const CONNECTIONS = 'connections'

/** What all {@link InstanceUsage}s stand on. */
export interface UsageParts {
  services: Pick<EngineServices, 'counters' | 'limits' | 'logger'>
  quotas: QuotaStore
}

/** Why a client may not come in; never a reason code about its identity. */
export interface Turned {
  reasonCode: number
  text: string
}

/** What the clients of one instance use on this node, within limits that hold in the whole cluster. */
export class InstanceUsage implements Usage {
  readonly instance: InstanceName
  readonly report: LimitReport
  inbound: InboundMeter | undefined = undefined
  outbound: OutboundMeter | undefined = undefined
  storeLimits: StoreLimits | undefined = undefined
  private readonly parts: UsageParts
  private readonly slots: ConnectionSlots
  private plan: InstancePlan | undefined = undefined
  private planJson: string | undefined = undefined
  private lender: TokenLender | undefined = undefined
  private connectsAgainAtMs = 0

  constructor(parts: UsageParts, instance: InstanceName) {
    this.parts = parts
    this.instance = instance
    this.report = new LimitReport(parts.services, instance)
    this.slots = new ConnectionSlots(parts.quotas, instance)
  }

  /** True while nothing of it has to be kept. */
  get isIdle(): boolean {
    return this.slots.isEmpty && (this.lender?.isIdle ?? true)
  }

  /** @returns false when these are the limits that hold already */
  usePlan(plan: InstancePlan | undefined): boolean {
    const text = JSON.stringify(plan)
    if (text === this.planJson) return false
    this.planJson = text
    this.plan = plan
    this.storeLimits = storeLimitsOf(plan, this.parts.services.limits)
    this.lender?.stop()
    this.inbound?.release()
    this.outbound?.release()
    this.useRates(plan)
    return true
  }

  // --- CONNECT -----------------------------------------------------------------------------------------------------

  /**
   * Counts a connection.
   * @param connectionsMax - of its user
   * @returns its place, `undefined` where nothing is limited, or why it has none
   */
  async enter(guest: Guest, connectionsMax: number | undefined): Promise<ConnectionSlot | Turned | undefined> {
    const tooFast = await this.tooFast(guest)
    if (tooFast !== undefined) return tooFast
    const limits = this.slotLimits(guest, connectionsMax)
    if (limits.length === 0) return undefined
    const taken = await this.slots.take(guest, limits)
    if (!('full' in taken)) return taken
    const { full, used } = taken
    const isPlan = full.kind === CONNECTIONS
    const whose = isPlan ? this.planText : `user ${guest.username ?? ''}`
    const text = `${whose}: ${used} of ${full.max} connections`
    this.report.met(isPlan ? 'plan_connections' : 'user_connections', text, guest.clientId)
    return { reasonCode: ReasonCode.quotaExceeded, text }
  }

  /** A connection that was there before its instance had limits. */
  adopt(guest: Guest): ConnectionSlot | undefined {
    const limits = this.slotLimits(guest, undefined)
    return limits.length === 0
      ? undefined
      : this.slots.adopt(
          guest,
          limits.map(({ kind }) => kind),
        )
  }

  /** Tells the cluster again which connections are here. */
  keepSlots(): Promise<void> {
    return this.slots.keep()
  }

  /** @returns why the CONNECT is turned down, for what the store says of it; `undefined` when it is not about a limit */
  turnedByStore(error: unknown, clientId: string): Turned | undefined {
    const max = this.sessionsMax
    if (!(error instanceof BrokerError) || error.code !== 'MIDGE_PLAN_LIMIT' || max === undefined) return undefined
    const text = `${this.planText}: ${max} of ${max} sessions`
    this.report.met('plan_sessions', text, clientId)
    return { reasonCode: ReasonCode.quotaExceeded, text }
  }

  // --- limits of one client ----------------------------------------------------------------------------------------

  /** Sessions that outlive their connection. */
  get sessionsMax(): number | undefined {
    return this.plan?.limits.sessions ?? undefined
  }

  /** @param seconds - what the server would grant */
  sessionExpiryOf(seconds: number): number {
    return Math.min(seconds, this.plan?.limits.sessionExpirySeconds ?? seconds)
  }

  /** @param bytes - what the server takes */
  packetBytesOf(bytes: number): number {
    return Math.min(bytes, this.plan?.limits.packetBytes ?? bytes)
  }

  /** @param has - how many a session has @param serverMax - how many the server allows */
  takesSubscription(has: number, serverMax: number, clientId: string): boolean {
    const max = this.plan?.limits.subscriptionsPerSession ?? undefined
    if (max === undefined || has < max) return has < serverMax
    this.report.met('plan_subscriptions', `${this.planText}: ${has} of ${max} subscriptions`, clientId)
    return false
  }

  tooLarge(clientId: string): void {
    const max = this.plan?.limits.packetBytes ?? undefined
    if (max !== undefined) this.report.met('plan_packet_size', `${this.planText}: ${max} bytes a packet`, clientId)
  }

  retainedFull(clientId: string): void {
    this.report.met('plan_retained', `${this.planText}: retained messages are full`, clientId)
  }

  private get planText(): string {
    return `plan ${this.plan?.name ?? ''}`
  }

  // --- time --------------------------------------------------------------------------------------------------------

  /** Called about ten times a second. */
  look(nowMs: number): void {
    this.lender?.look()
    this.inbound?.expire(nowMs)
  }

  stop(): void {
    this.lender?.stop()
  }

  private slotLimits({ username }: Guest, connectionsMax: number | undefined): SlotLimit[] {
    const limits: SlotLimit[] = []
    const max = this.plan?.limits.connections ?? undefined
    if (max !== undefined) limits.push({ kind: CONNECTIONS, max })
    if (connectionsMax !== undefined) limits.push({ kind: `user:${username ?? ''}`, max: connectionsMax })
    return limits
  }

  private async tooFast({ clientId }: Guest): Promise<Turned | undefined> {
    const rate = this.plan?.limits.connectsPerSecond ?? undefined
    if (rate === undefined) return undefined
    let waitMs = this.connectsAgainAtMs - performance.now()
    if (waitMs <= 0) {
      const wish = { bucket: 'connects', ratePerSecond: rate, burst: rate * CONNECT_BURST_SECONDS, want: 1 }
      const [lease] = await this.parts.quotas.leaseTokens(this.instance, [wish])
      if (lease === undefined || lease.granted > 0) return undefined
      waitMs = lease.waitMs
      // Until then there is nothing to ask for; a plan may be changed meanwhile.
      this.connectsAgainAtMs = performance.now() + Math.min(waitMs, 1_000)
    }
    const text = `${this.planText}: ${rate} connections a second, wait ${Math.ceil(waitMs / 1000)} s`
    this.report.met('connect_rate', text, clientId)
    return { reasonCode: ReasonCode.connectionRateExceeded, text }
  }

  private useRates(plan: InstancePlan | undefined): void {
    const { messagesInPerSecond, bytesInPerSecond, messagesOutPerSecond, bytesOutPerSecond, burstSeconds } =
      plan?.limits ?? NO_RATES
    const rateOf = (bucket: string, ratePerSecond: number | null): Allowance | undefined =>
      ratePerSecond === null ? undefined : new Allowance(termsOf(bucket, ratePerSecond, burstSeconds))
    const inbound = {
      messages: rateOf('messages in', messagesInPerSecond),
      bytes: rateOf('bytes in', bytesInPerSecond),
    }
    const outbound = {
      messages: rateOf('messages out', messagesOutPerSecond),
      bytes: rateOf('bytes out', bytesOutPerSecond),
    }
    const ofIn = [inbound.messages, inbound.bytes].filter(one => one !== undefined)
    const ofOut = [outbound.messages, outbound.bytes].filter(one => one !== undefined)
    const all = [...ofIn, ...ofOut]
    if (all.length === 0) {
      this.lender = undefined
      this.inbound = undefined
      this.outbound = undefined
      return
    }
    const lender = new TokenLender({ quotas: this.parts.quotas, instance: this.instance }, all, () => {
      this.inbound?.wake()
      this.outbound?.wake()
    })
    const ask = (): void => lender.request()
    this.lender = lender
    this.inbound = ofIn.length === 0 ? undefined : new InboundMeter(inbound, ask, rate => this.rateText(rate))
    this.outbound = ofOut.length === 0 ? undefined : new OutboundMeter(outbound, ask)
  }

  private rateText({ terms: { bucket, ratePerSecond }, debtMs }: Allowance): string {
    const text = `${this.planText}: ${ratePerSecond} ${bucket} a second, wait ${Math.ceil(debtMs / 1000)} s`
    this.report.met('plan_rate', text)
    return text
  }
}

const NO_RATES = {
  messagesInPerSecond: null,
  bytesInPerSecond: null,
  messagesOutPerSecond: null,
  bytesOutPerSecond: null,
  burstSeconds: 1,
}

function termsOf(bucket: string, ratePerSecond: number, burstSeconds: number): RateTerms {
  return { bucket, ratePerSecond, burst: ratePerSecond * burstSeconds }
}

/** The stricter of plan and server; one object as long as the plan holds, by which the store knows what goes together. */
function storeLimitsOf(plan: InstancePlan | undefined, limits: Limits): StoreLimits | undefined {
  if (plan === undefined) return undefined
  const { queueMessages, queueBytes, retainedMessages, retainedBytes } = plan.limits
  if (queueMessages === null && queueBytes === null && retainedMessages === null && retainedBytes === null)
    return undefined
  return {
    queue: {
      offlineQueueMessages: Math.min(limits.offlineQueueMessages, queueMessages ?? limits.offlineQueueMessages),
      offlineQueueBytes: Math.min(limits.offlineQueueBytes, queueBytes ?? limits.offlineQueueBytes),
      onlineQueueMessages: Math.min(limits.onlineQueueMessages, queueMessages ?? limits.onlineQueueMessages),
      onlineQueueBytes: Math.min(limits.onlineQueueBytes, queueBytes ?? limits.onlineQueueBytes),
    },
    retained:
      retainedMessages === null && retainedBytes === null
        ? undefined
        : {
            messages: retainedMessages ?? Number.MAX_SAFE_INTEGER,
            bytes: retainedBytes ?? Number.MAX_SAFE_INTEGER,
          },
  }
}
