/**
 * The smallest texts behind `after`, in order, without sorting the others: a page of a large set costs one walk.
 *
 * @param after - `undefined` for all
 */
export function smallestAfter(texts: Iterable<string>, after: string | undefined, countMax: number): string[] {
  const page: string[] = []
  for (const text of texts) {
    if (after !== undefined && text <= after) continue
    const last = page[page.length - 1]
    if (page.length >= countMax && (last === undefined || text >= last)) continue
    let low = 0
    let high = page.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((page[middle] ?? '') < text) low = middle + 1
      else high = middle
    }
    if (page.length >= countMax) page.pop()
    page.splice(low, 0, text)
  }
  return page
}
