import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerError, smallestAfter } from '@midge/protocol-core'
import { type ListPart, pageOverParts } from './fleet-pages.ts'

function partOf(name: string, rows: readonly string[], asked: number[] = []): ListPart<string> {
  return {
    name,
    async slice(after, countMax) {
      asked.push(countMax)
      const items = smallestAfter(rows, after, countMax)
      return { items, next: items.length < countMax ? undefined : items.at(-1) }
    },
  }
}

async function walk(parts: readonly ListPart<string>[], countMax: number): Promise<string[]> {
  const all: string[] = []
  let cursor: string | undefined
  do {
    const page = await pageOverParts(parts, { countMax, ...(cursor === undefined ? {} : { cursor }) })
    assert.ok(page.items.length <= countMax)
    all.push(...page.items)
    cursor = page.cursor
  } while (cursor !== undefined)
  return all
}

function rows(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${String(i).padStart(4, '0')}`)
}

test('a walk shows every row of every part once, whatever the size of a page', async () => {
  const lists = { n1: rows('b', 250), n10: [], n2: rows('a', 3), 'n2\0': rows('c', 1), n3: rows('d', 100) }
  const parts = Object.entries(lists).map(([name, list]) => partOf(name, list))
  for (const countMax of [1, 3, 100, 101, 250, 1000])
    assert.deepEqual(await walk(parts, countMax), Object.values(lists).flat())
})

test('no part is asked for more than fits an answer, nor for more than the page wants', async () => {
  const asked: number[] = []
  await pageOverParts([partOf('a', rows('x', 150), asked), partOf('b', rows('y', 90), asked)], { countMax: 210 })
  assert.deepEqual(asked, [100, 100, 60])
})

test('a part that is gone, or does not answer, is left out and the walk goes on behind it', async () => {
  const [first, second, third] = [partOf('a', ['1', '2']), partOf('b', ['3', '4']), partOf('c', ['5'])]
  const { cursor, items } = await pageOverParts([first, second, third], { countMax: 3 })
  assert.deepEqual(items, ['1', '2', '3'])
  assert.ok(cursor !== undefined)
  const silent = { name: 'b', slice: async () => undefined }
  for (const parts of [
    [first, third],
    [first, silent, third],
  ]) {
    assert.deepEqual(await pageOverParts(parts, { countMax: 3, cursor }), { items: ['5'], cursor: undefined })
  }
})

test('a cursor that is none is refused', async () => {
  for (const value of ['x', '[]', '{}', 'null', '[1]', '["a",1]']) {
    const cursor = Buffer.from(value).toString('base64url')
    await assert.rejects(
      pageOverParts([partOf('a', [])], { countMax: 1, cursor }),
      error => error instanceof BrokerError && error.code === 'MIDGE_INVALID',
      value,
    )
  }
})
