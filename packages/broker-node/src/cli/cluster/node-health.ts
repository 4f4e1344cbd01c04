import type { NodePlan } from './node-process.ts'

const INTERVAL_MS = 1000
const ANSWER_TIMEOUT_MS = 2000
/** One late answer of a busy machine is no reason to move clients. */
const FAILURES_MAX = 2

/** Asks every node for `GET /readyz` once a second and tells changes. */
export class HealthMonitor {
  private readonly nodes: readonly NodePlan[]
  private readonly onChange: (node: NodePlan, isReady: boolean) => void
  private readonly failures: Map<string, number> = new Map()
  private readonly ready: Set<string> = new Set()
  private timer: NodeJS.Timeout | undefined

  constructor(nodes: readonly NodePlan[], onChange: (node: NodePlan, isReady: boolean) => void) {
    this.nodes = nodes
    this.onChange = onChange
  }

  isReady(nodeId: string): boolean {
    return this.ready.has(nodeId)
  }

  /** Asks all nodes now, then every second until {@link stop}. */
  async start(): Promise<void> {
    this.timer = setInterval(() => void this.checkAll(), INTERVAL_MS)
    await this.checkAll()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** Takes a node out at once, for example when it refused a connection; the next good answer brings it back. */
  markDown(node: NodePlan): void {
    this.failures.set(node.id, FAILURES_MAX)
    if (this.ready.delete(node.id)) this.onChange(node, false)
  }

  private async checkAll(): Promise<void> {
    await Promise.all(this.nodes.map(node => this.check(node)))
  }

  private async check(node: NodePlan): Promise<void> {
    if (await isNodeReady(node)) {
      this.failures.set(node.id, 0)
      if (this.ready.has(node.id)) return
      this.ready.add(node.id)
      this.onChange(node, true)
      return
    }
    const failures = (this.failures.get(node.id) ?? 0) + 1
    this.failures.set(node.id, failures)
    if (failures >= FAILURES_MAX) this.markDown(node)
  }
}

/** One question to one node; any failure is a no. */
export async function isNodeReady(node: NodePlan): Promise<boolean> {
  try {
    const url = `http://127.0.0.1:${node.httpPort}/readyz`
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) })
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    return false
  }
}
