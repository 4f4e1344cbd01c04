import type { InstanceName } from '@midge/protocol-core'
import type { ClientLogEntry } from './client-log.ts'
import type { LogView } from './cluster-views.ts'
import type { NodeQuestions } from './node-questions.ts'

/** Between two looks at the nodes while somebody follows. */
const FOLLOW_MS = 500
/** Entries of one look at one node. */
const ENTRIES_MAX = 1000

/** The logs of all nodes as one. */
export class FleetLog {
  private readonly questions: NodeQuestions

  constructor(questions: NodeQuestions) {
    this.questions = questions
  }

  /** Without `since` the newest; behind it the oldest, and perhaps some of the same millisecond again. */
  async read(instance: InstanceName, since: string | undefined, countMax: number): Promise<LogView[]> {
    const [atText = '0', nodeId = '', seqText = '0'] = since?.split('~') ?? []
    const logs = await this.questions.askAll({ about: 'log', instance, afterSeq: 0, countMax: ENTRIES_MAX })
    const entries = logs.flatMap(log => log.answer.map(entry => viewOf(log.nodeId, entry))).sort(byTime)
    if (since === undefined) return entries.slice(-countMax)
    const isLater = (entry: LogView): boolean => {
      if (entry.nodeId === decodeURIComponent(nodeId)) return seqOf(entry) > Number(seqText)
      return entry.atMs >= Number(atText)
    }
    return entries.filter(isLater).slice(0, countMax)
  }

  /** What happens from now on, until `signal` is aborted. */
  async *follow(instance: InstanceName, signal: AbortSignal): AsyncGenerator<LogView> {
    const seen = new Map<string, number>()
    const look = async (countMax: number): Promise<LogView[]> => {
      const found = this.questions.nodeIds().map(async nodeId => {
        const afterSeq = seen.get(nodeId) ?? 0
        const entries = (await this.questions.ask(nodeId, { about: 'log', instance, afterSeq, countMax })) ?? []
        seen.set(nodeId, entries.at(-1)?.seq ?? afterSeq)
        return entries.map(entry => viewOf(nodeId, entry))
      })
      return (await Promise.all(found)).flat().sort(byTime)
    }
    await look(1)
    while (!signal.aborted) {
      yield* await look(ENTRIES_MAX)
      await pause(signal)
    }
  }
}

function viewOf(nodeId: string, { seq, ...entry }: ClientLogEntry): LogView {
  const { clientId, username, address } = entry
  return { id: `${entry.atMs}~${encodeURIComponent(nodeId)}~${seq}`, nodeId, ...entry, clientId, username, address }
}

function seqOf({ id }: LogView): number {
  return Number(id.slice(id.lastIndexOf('~') + 1))
}

function byTime(a: LogView, b: LogView): number {
  return a.atMs - b.atMs || seqOf(a) - seqOf(b)
}

function pause(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, FOLLOW_MS)
    signal.addEventListener('abort', end)
  })
}
