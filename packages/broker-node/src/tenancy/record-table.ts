import { SortedIds } from './sorted-ids.ts'
import type { Page, PageRequest } from './tenancy.ts'

/** What a page is taken from. */
export interface PageFilter<T> {
  /** Ids that begin so. */
  prefix?: string
  isWanted?: (row: T) => boolean
}

/** The records of one kind, of one instance or of the cluster, by their ids. */
export class RecordTable<T> {
  private readonly rows: Map<string, T> = new Map()
  private readonly ids: SortedIds = new SortedIds()

  get size(): number {
    return this.rows.size
  }

  get(id: string): T | undefined {
    return this.rows.get(id)
  }

  /** @param row - `undefined` removes it */
  set(id: string, row: T | undefined): void {
    if (row === undefined) {
      this.rows.delete(id)
      this.ids.remove(id)
      return
    }
    if (!this.rows.has(id)) this.ids.add(id)
    this.rows.set(id, row)
  }

  keys(): IterableIterator<string> {
    return this.rows.keys()
  }

  entries(): IterableIterator<[string, T]> {
    return this.rows.entries()
  }

  values(): IterableIterator<T> {
    return this.rows.values()
  }

  /** In the order of the ids. */
  page({ after, countMax }: PageRequest, { prefix = '', isWanted }: PageFilter<T> = {}): Page<T> {
    // The least text above `after`, so that the page begins behind it.
    const from = after === undefined || after < prefix ? prefix : `${after}\0`
    return this.take(this.ids.upFrom(from), countMax, (id, row) => {
      if (!id.startsWith(prefix)) return 'end'
      return isWanted === undefined || isWanted(row) ? 'take' : 'pass'
    })
  }

  /** In the opposite order; `after` is the id that the page before ended with. */
  pageBack({ after, countMax }: PageRequest, isWanted: (row: T) => boolean): Page<T> {
    return this.take(this.ids.downFrom(after), countMax, (_id, row) => (isWanted(row) ? 'take' : 'pass'))
  }

  /** The lowest `count` ids. */
  first(count: number): string[] {
    const ids: string[] = []
    for (const id of this.ids.upFrom('')) {
      if (ids.length >= count) break
      ids.push(id)
    }
    return ids
  }

  private take(
    ids: Iterable<string>,
    countMax: number,
    judge: (id: string, row: T) => 'take' | 'pass' | 'end',
  ): Page<T> {
    const items: T[] = []
    let last: string | undefined
    for (const id of ids) {
      const row = this.rows.get(id)
      if (row === undefined) continue
      const verdict = judge(id, row)
      if (verdict === 'end') break
      if (verdict === 'pass') continue
      if (items.length >= countMax) return { items, cursor: last }
      items.push(row)
      last = id
    }
    return { items, cursor: undefined }
  }
}
