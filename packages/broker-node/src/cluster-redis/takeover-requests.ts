import { randomInt } from 'node:crypto'
import type { TakeoverAnswer } from '@midge/protocol-core'

interface Request {
  nodeId: string
  resolve(answer: TakeoverAnswer): void
  timer: NodeJS.Timeout
}

const REQUESTS_MAX = 2 ** 47

/** Takeovers that other nodes have been asked for and have not answered yet. */
export class TakeoverRequests {
  private readonly answerMs: number
  private readonly open = new Map<number, Request>()
  /** From a random number on: an answer to an earlier process of this node id must not fit. */
  private lastId = randomInt(REQUESTS_MAX)

  /** @param answerMs - after this long, the answer is `unknown` */
  constructor(answerMs: number) {
    this.answerMs = answerMs
  }

  ask(nodeId: string): { id: number; answer: Promise<TakeoverAnswer> } {
    const id = ++this.lastId
    const answer = new Promise<TakeoverAnswer>(resolve => {
      const timer = setTimeout(() => this.settle(id, 'unknown'), this.answerMs)
      this.open.set(id, { nodeId, resolve, timer })
    })
    return { id, answer }
  }

  settle(id: number, answer: TakeoverAnswer): void {
    const request = this.open.get(id)
    if (request === undefined) return
    this.open.delete(id)
    clearTimeout(request.timer)
    request.resolve(answer)
  }

  /** A node is gone and will not answer. */
  forget(nodeId: string): void {
    for (const [id, request] of this.open) if (request.nodeId === nodeId) this.settle(id, 'unknown')
  }

  stop(): void {
    for (const id of [...this.open.keys()]) this.settle(id, 'unknown')
  }
}
