/** Ids in one run of the list; a run that grows beyond it is cut in two. */
const RUN_LENGTH_MAX = 512

/**
 * Ids in the order of their code units. They lie in short runs, so that neither a new id nor a page costs more because
 * there are 100,000 of them.
 */
export class SortedIds {
  private readonly runs: string[][] = []

  add(id: string): void {
    const at = Math.min(this.runFor(id), this.runs.length - 1)
    const run = this.runs[at]
    if (run === undefined) {
      this.runs.push([id])
      return
    }
    const index = lowerBound(run, id)
    if (run[index] === id) return
    run.splice(index, 0, id)
    if (run.length > RUN_LENGTH_MAX) this.runs.splice(at + 1, 0, run.splice(RUN_LENGTH_MAX / 2))
  }

  remove(id: string): void {
    const at = this.runFor(id)
    const run = this.runs[at]
    if (run === undefined) return
    const index = lowerBound(run, id)
    if (run[index] !== id) return
    run.splice(index, 1)
    if (run.length === 0) this.runs.splice(at, 1)
  }

  /** Upwards from the first id that is not below `from`. */
  *upFrom(from: string): Generator<string> {
    let at = this.runFor(from)
    let index = lowerBound(this.runs[at] ?? [], from)
    for (let run = this.runs[at]; run !== undefined; run = this.runs[++at]) {
      for (; index < run.length; index++) yield run[index] ?? ''
      index = 0
    }
  }

  /** Downwards from the last id that is below `limit`; without one from the end. */
  *downFrom(limit: string | undefined): Generator<string> {
    let at = limit === undefined ? this.runs.length - 1 : Math.min(this.runFor(limit), this.runs.length - 1)
    let index = limit === undefined ? undefined : lowerBound(this.runs[at] ?? [], limit)
    for (let run = this.runs[at]; run !== undefined; run = this.runs[--at]) {
      for (let i = (index ?? run.length) - 1; i >= 0; i--) yield run[i] ?? ''
      index = undefined
    }
  }

  /** Index of the first run that ends at `id` or above. */
  private runFor(id: string): number {
    let low = 0
    let high = this.runs.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.runs[middle]?.at(-1) ?? '') < id) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Index of the first id that is not below `id`. */
function lowerBound(run: readonly string[], id: string): number {
  let low = 0
  let high = run.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((run[middle] ?? '') < id) low = middle + 1
    else high = middle
  }
  return low
}
