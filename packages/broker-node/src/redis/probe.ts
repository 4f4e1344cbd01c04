import type { Redis } from 'ioredis'
import { isDemoted, isReply, textOf } from './errors.ts'
import type { LinkHealth } from './health.ts'
import type { Servers } from './servers.ts'

/** Between two probes of a server. */
const PROBE_INTERVAL_MS = 500
/** An answer that takes longer makes a link suspect. */
const LATE_MS = 800
/** A server that has not answered for this long is taken for dead, whatever its socket says. */
const SILENT_MS = 2_000

/** After this long without a connection a link is down, whatever its attempts have said. */
const BROKEN_MS = 2_500

/** A question that has no answer yet, however often it was asked: commands have a time limit of their own. */
interface Question {
  sinceMs: number
  isUnderWay: boolean
}

/**
 * Asks every server behind a link twice a second for an answer, so that one that accepts and never answers is noticed
 * within 3 s. The question is a write of nothing, `PERSIST` of a key that is not there: a server that was made a
 * replica refuses it, one without memory to spare does not.
 */
export class LinkProbe {
  private readonly servers: Servers
  private readonly key: string
  private readonly health: LinkHealth
  private readonly timer: NodeJS.Timeout
  private readonly asked = new Map<Redis, Question>()
  /** Servers whose last answer was one. */
  private readonly answered = new Set<Redis>()
  private brokenSinceMs: number | undefined
  /** Called when all servers answer after a time in which they did not. */
  private readonly onUp: () => void

  constructor(options: { servers: Servers; key: string; health: LinkHealth; onUp: () => void }) {
    this.servers = options.servers
    this.key = options.key
    this.health = options.health
    this.onUp = options.onUp
    this.timer = setInterval(() => this.probe(), PROBE_INTERVAL_MS)
    this.timer.unref()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** Asks now, for example because a connection has just been made. */
  probe(): void {
    this.servers.refresh()
    for (const server of this.servers.all()) {
      // A server of a Redis Cluster that nobody has talked to yet.
      if (server.status === 'wait') server.connect().catch(() => undefined)
      if (server.status === 'ready') this.probeServer(server)
    }
    this.watchWholeness()
  }

  /** A server that is not connected cannot be asked: a part of a Redis Cluster may be gone while the others answer. */
  private watchWholeness(): void {
    if (this.servers.areWhole()) {
      this.brokenSinceMs = undefined
      return
    }
    this.brokenSinceMs ??= performance.now()
    this.health.suspect()
    if (performance.now() - this.brokenSinceMs > BROKEN_MS) this.health.down('not every server is connected')
  }

  private probeServer(server: Redis): void {
    const question = this.asked.get(server) ?? { sinceMs: performance.now(), isUnderWay: false }
    this.asked.set(server, question)
    const waitedMs = performance.now() - question.sinceMs
    if (waitedMs > SILENT_MS) {
      this.giveUp(server, `no answer for ${Math.round(waitedMs)} ms`)
      return
    }
    if (waitedMs > LATE_MS) this.health.suspect()
    if (question.isUnderWay) return
    question.isUnderWay = true
    server.persist(this.key).then(
      () => this.heard(server),
      (error: unknown) => this.failed(server, question, error),
    )
  }

  private heard(server: Redis): void {
    this.asked.delete(server)
    this.answered.add(server)
    for (const known of this.answered) if (known.status !== 'ready') this.answered.delete(known)
    if (this.health.state === 'up' || !this.servers.areWhole()) return
    if (!this.servers.all().every(one => one.status !== 'ready' || this.answered.has(one))) return
    this.health.up()
    this.onUp()
  }

  private failed(server: Redis, question: Question, error: unknown): void {
    question.isUnderWay = false
    if (isReply(error)) {
      // An answer like MOVED or NOPERM is one too.
      if (isDemoted(error)) this.giveUp(server, textOf(error))
      else if (textOf(error).startsWith('CLUSTERDOWN')) this.isOut(server, textOf(error))
      else this.heard(server)
    } else if (server.status !== 'ready') this.forget(server)
  }

  private forget(server: Redis): void {
    this.asked.delete(server)
    this.answered.delete(server)
  }

  private giveUp(server: Redis, reason: string): void {
    this.isOut(server, reason)
    server.disconnect(true)
  }

  private isOut(server: Redis, reason: string): void {
    this.forget(server)
    this.health.down(`${server.options.host}:${server.options.port}: ${reason}`)
  }
}
