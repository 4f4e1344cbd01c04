import type { InstanceName } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'

/** Entries that are kept for one instance, on one node. */
const ENTRIES_MAX = 1000
/** Instances whose entries are kept; the one that was new longest ago is forgotten first. */
const INSTANCES_MAX = 10_000

/** More than can happen. */
const SEQS_PER_MS = 1000

/** One thing that happened to a client of this node. */
export interface ClientLogEntry {
  /** Grows with every entry of the node. */
  seq: number
  atMs: number
  event: string
  clientId: string | undefined
  username: string | undefined
  address: string | undefined
  text: string
}

/** Is told of entries as they are made; must not throw. */
export type ClientLogFollower = (instance: InstanceName, entry: ClientLogEntry) => void

/**
 * What happens to the clients of each instance, as far as the log of the node says it: whoever gets the logger of
 * {@link ClientLog.watching} writes into both. So it costs nothing that the log does not, and shows the same words.
 */
export class ClientLog {
  private readonly entries: Map<InstanceName, ClientLogEntry[]> = new Map()
  private readonly nowMs: () => number
  private readonly followers: Set<ClientLogFollower> = new Set()
  private lastSeq: number
  private readonly lastRefusal: { connectionId: string | undefined } = { connectionId: undefined }

  constructor(nowMs: () => number) {
    this.nowMs = nowMs
    // A process that comes later goes on behind this one.
    this.lastSeq = nowMs() * SEQS_PER_MS
  }

  /** A logger that notes lines about clients and hands everything on. */
  watching(logger: Logger): Logger {
    const level =
      (name: 'debug' | 'info' | 'warn') =>
      (fields: object, text: string): void => {
        this.note(fields, text)
        logger[name](fields, text)
      }
    return {
      trace: (fields, text) => logger.trace(fields, text),
      debug: level('debug'),
      info: level('info'),
      warn: level('warn'),
      error: (fields, text) => logger.error(fields, text),
      isLevelEnabled: name => (name === 'info' && this.followers.size > 0) || logger.isLevelEnabled(name),
      child: bindings => this.watching(logger.child(bindings)),
    }
  }

  /** Entries behind `afterSeq`, oldest first, the newest `countMax` of them. */
  read(instance: InstanceName, afterSeq: number, countMax: number): ClientLogEntry[] {
    return (this.entries.get(instance) ?? []).filter(({ seq }) => seq > afterSeq).slice(-countMax)
  }

  /**
   * Tells of every entry from here on, whatever the level of the log.
   *
   * @returns ends it
   */
  follow(follower: ClientLogFollower): () => void {
    this.followers.add(follower)
    return () => this.followers.delete(follower)
  }

  private note(fields: object, text: string): void {
    const { event, instance, ...rest }: Record<string, unknown> = { ...fields }
    if (typeof event !== 'string' || typeof instance !== 'string' || !isOfClient(event)) return
    const entries = this.entries.get(instance) ?? this.makeRoom(instance)
    const connectionId = textOf(rest['connectionId'])
    // The door says in more words what the connection says again.
    const last = this.lastRefusal
    if (event === REFUSED && connectionId !== undefined && last.connectionId === connectionId) return
    if (event === REFUSED) last.connectionId = connectionId
    const reason = textOf(rest['reason'])
    const entry: ClientLogEntry = {
      seq: ++this.lastSeq,
      atMs: this.nowMs(),
      event: event.startsWith(CLIENT_EVENT) ? event.slice(CLIENT_EVENT.length) : event,
      clientId: textOf(rest['clientId']),
      username: textOf(rest['username']),
      address: textOf(rest['remote'] ?? rest['remoteAddress']),
      text: reason === undefined ? text : `${text}: ${reason}`,
    }
    entries.push(entry)
    for (const follower of this.followers) follower(instance, entry)
    // In slices: each removal moves all that is left.
    if (entries.length >= 2 * ENTRIES_MAX) entries.splice(0, entries.length - ENTRIES_MAX)
  }

  private makeRoom(instance: InstanceName): ClientLogEntry[] {
    if (this.entries.size >= INSTANCES_MAX)
      for (const oldest of this.entries.keys()) if (this.entries.delete(oldest)) break
    const entries: ClientLogEntry[] = []
    this.entries.set(instance, entries)
    return entries
  }
}

const CLIENT_EVENT = 'client.'
const REFUSED = 'client.refused'

/** Lines about one client; those about a limit or a will name the client that met it. */
function isOfClient(event: string): boolean {
  return event.startsWith(CLIENT_EVENT) || event === 'plan.limit' || event === 'will.denied'
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
