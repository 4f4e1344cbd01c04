import { BrokerError } from '@midge/protocol-core'
import type { SubscriptionFacts } from '../../ports.ts'
import type {
  ClusterViews,
  ConnectionView,
  InstanceStatistics,
  LogView,
  NodeView,
  PublishWish,
  QueuedMessageView,
  RetainedView,
  SessionView,
  ViewPage,
  ViewRequest,
} from '../../views/cluster-views.ts'

/** A small cluster that is nothing but lists. */
export class MemoryViews implements ClusterViews {
  readonly deeds: string[]
  readonly connectionRows: ConnectionView[] = []
  readonly sessionRows: SessionView[] = []
  readonly queueRows: QueuedMessageView[] = []
  readonly subscriptionRows: SubscriptionFacts[] = []
  readonly retainedRows: RetainedView[] = []
  readonly logRows: LogView[] = []
  readonly published: PublishWish[] = []
  /** How many follow the log. */
  followers = 0
  private wake: () => void = () => undefined

  /** @param deeds - is told what was done, and to whom */
  constructor(deeds: string[]) {
    this.deeds = deeds
  }

  async connections(_instance: string, request: ViewRequest): Promise<ViewPage<ConnectionView>> {
    return pageOfRows(this.connectionRows, request)
  }

  async connection(_instance: string, clientId: string): Promise<ConnectionView | undefined> {
    return this.connectionRows.find(row => row.clientId === clientId)
  }

  async kick(instance: string, clientId: string): Promise<boolean> {
    this.deeds.push(`kick ${clientId} of ${instance}`)
    return this.connectionRows.some(row => row.clientId === clientId)
  }

  async restart(instance: string): Promise<void> {
    this.deeds.push(`restart ${instance}`)
  }

  async sessions(_instance: string, request: ViewRequest): Promise<ViewPage<SessionView>> {
    return pageOfRows(this.sessionRows, request)
  }

  async session(_instance: string, clientId: string): Promise<SessionView | undefined> {
    return this.sessionRows.find(row => row.clientId === clientId)
  }

  async queue(_instance: string, _clientId: string, request: ViewRequest): Promise<ViewPage<QueuedMessageView>> {
    return pageOfRows(this.queueRows, request)
  }

  async purgeQueue(instance: string, clientId: string): Promise<void> {
    this.deeds.push(`purge ${clientId} of ${instance}`)
  }

  async deleteSession(instance: string, clientId: string): Promise<void> {
    this.deeds.push(`delete ${clientId} of ${instance}`)
  }

  async *exportSession(_instance: string, clientId: string): AsyncGenerator<string> {
    yield `${JSON.stringify({ session: { clientId } })}\n`
  }

  async importSession(_instance: string, lines: string): Promise<string> {
    return lines.trim()
  }

  async subscriptions(
    _instance: string,
    request: ViewRequest,
    of?: { clientId: string },
  ): Promise<ViewPage<SubscriptionFacts>> {
    return pageOfRows(
      this.subscriptionRows.filter(row => of === undefined || row.clientId === of.clientId),
      request,
    )
  }

  async retained(_instance: string, topicFilter: string, request: ViewRequest): Promise<ViewPage<RetainedView>> {
    this.deeds.push(`retained ${topicFilter}`)
    return pageOfRows(this.retainedRows, request)
  }

  async retainedMessage(_instance: string, topic: string): Promise<RetainedView | undefined> {
    return this.retainedRows.find(row => row.topic === topic)
  }

  async deleteRetained(instance: string, topicFilter: string): Promise<number> {
    this.deeds.push(`clear ${topicFilter} of ${instance}`)
    return this.retainedRows.length
  }

  async *exportRetained(_instance: string, topicFilter: string): AsyncGenerator<string> {
    yield `${JSON.stringify({ topicFilter })}\n`
  }

  async importRetained(_instance: string, lines: string): Promise<number> {
    return lines.trim().split('\n').length
  }

  async publish(_instance: string, messages: readonly PublishWish[]): Promise<void> {
    this.published.push(...messages)
  }

  async wipe(instance: string): Promise<void> {
    this.deeds.push(`wipe ${instance}`)
  }

  async log(_instance: string, since: string | undefined, countMax: number): Promise<LogView[]> {
    const start = since === undefined ? 0 : this.logRows.findIndex(({ id }) => id === since) + 1
    return this.logRows.slice(start).slice(0, countMax)
  }

  async *followLog(_instance: string, signal: AbortSignal): AsyncGenerator<LogView> {
    this.followers++
    const onAbort = (): void => {
      this.followers--
      this.wake()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    let next = this.logRows.length
    while (!signal.aborted) {
      const row = this.logRows[next]
      if (row !== undefined) {
        next++
        yield row
      } else {
        await new Promise<void>(resolve => {
          this.wake = resolve
        })
      }
    }
  }

  /** Something happens. */
  tell(row: LogView): void {
    this.logRows.push(row)
    this.wake()
  }

  async statistics(): Promise<InstanceStatistics> {
    return { connections: 7 }
  }

  async nodes(): Promise<NodeView[]> {
    return [
      { nodeId: 'n1', version: '1.2.3', uptimeSeconds: 1, ready: true, connections: 0 },
      { nodeId: 'n0', ready: false },
    ]
  }

  async drain(nodeId: string): Promise<void> {
    if (nodeId !== 'n1') throw new BrokerError('MIDGE_NOT_FOUND', 'no such node')
    this.deeds.push(`drain ${nodeId}`)
  }
}

function pageOfRows<T>(rows: readonly T[], { cursor = '0', countMax }: ViewRequest): ViewPage<T> {
  const start = Number(cursor)
  const end = start + countMax
  return { items: rows.slice(start, end), cursor: end < rows.length ? String(end) : undefined }
}
