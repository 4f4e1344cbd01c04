import { randomInt } from 'node:crypto'

interface Request<T> {
  nodeId: string
  resolve(answer: T): void
  timer: NodeJS.Timeout
}

const REQUESTS_MAX = 2 ** 47

/** What other nodes have been asked and have not answered yet. */
export class PeerRequests<T> {
  private readonly answerMs: number
  /** What stands for the answer of a node that does not give one. */
  private readonly silence: T
  private readonly open = new Map<number, Request<T>>()
  /** From a random number on: an answer to an earlier process of this node id must not fit. */
  private lastId = randomInt(REQUESTS_MAX)

  /** @param answerMs - after this long, the answer is `silence` */
  constructor(answerMs: number, silence: T) {
    this.answerMs = answerMs
    this.silence = silence
  }

  ask(nodeId: string): { id: number; answer: Promise<T> } {
    const id = ++this.lastId
    const answer = new Promise<T>(resolve => {
      const timer = setTimeout(() => this.settle(id, this.silence), this.answerMs)
      this.open.set(id, { nodeId, resolve, timer })
    })
    return { id, answer }
  }

  settle(id: number, answer: T): void {
    const request = this.open.get(id)
    if (request === undefined) return
    this.open.delete(id)
    clearTimeout(request.timer)
    request.resolve(answer)
  }

  /** A node is gone and will not answer. */
  forget(nodeId: string): void {
    for (const [id, request] of this.open) if (request.nodeId === nodeId) this.settle(id, this.silence)
  }

  stop(): void {
    for (const id of [...this.open.keys()]) this.settle(id, this.silence)
  }
}
