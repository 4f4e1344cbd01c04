import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { test } from 'node:test'
import { importsOf, readAll, type SourceFile } from './sources.ts'

/** Sources by what a package's name leads to. */
const DOORS = new Map<string, string>(
  ['protocol-core', 'broker-node', 'metrics-exporter'].map(name => [`@midge/${name}`, `packages/${name}/src/index.ts`]),
).set('@midge/protocol-core/testing', 'packages/protocol-core/src/testing/index.ts')

/** What each file imports of the repository, types included: a reader follows those too. */
function graphOf(files: readonly SourceFile[]): Map<string, string[]> {
  const known = new Set(files.map(({ path }) => path))
  return new Map(
    files.map(({ path, text }) => {
      const targets = importsOf(text).map(({ specifier }) =>
        specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : (DOORS.get(specifier) ?? ''),
      )
      return [path, targets.filter(target => known.has(target))]
    }),
  )
}

/** The circles of a graph: each group of files from which one comes back to every one of them. */
function circlesOf(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const circles: string[][] = []
  const order = new Map<string, number>()
  const lowest = new Map<string, number>()
  const open: string[] = []
  const visit = (path: string): number => {
    const number = order.size
    let low = number
    order.set(path, number)
    open.push(path)
    for (const target of graph.get(path) ?? []) {
      const seen = order.get(target)
      if (seen === undefined) low = Math.min(low, visit(target))
      else if (open.includes(target)) low = Math.min(low, seen)
    }
    lowest.set(path, low)
    if (low === number) {
      const group = open.splice(open.indexOf(path)).sort()
      if (group.length > 1 || graph.get(path)?.includes(path) === true) circles.push(group)
    }
    return low
  }
  for (const path of graph.keys()) if (!order.has(path)) visit(path)
  return circles
}

test('no file leads back to itself, types included', () => {
  const graph = graphOf(readAll(['packages', 'test'], ['.ts']))
  assert.ok(graph.size > 200)
  assert.ok([...graph.values()].flat().length > 500)
  assert.deepEqual(circlesOf(graph), [])
})

test('a circle is found whatever its length, and named', () => {
  const file = (path: string, ...targets: string[]): SourceFile => ({
    path,
    text: targets.map(target => `import type { A } from '${target}'\n`).join(''),
  })
  const files = [
    file('packages/x/src/a.ts', './b.ts'),
    file('packages/x/src/b.ts', './sub/c.ts', './d.ts'),
    file('packages/x/src/sub/c.ts', '../a.ts'),
    file('packages/x/src/d.ts', './d.ts'),
    file('packages/x/src/e.ts', './a.ts', 'node:fs'),
  ]
  assert.deepEqual(circlesOf(graphOf(files)), [
    ['packages/x/src/d.ts'],
    ['packages/x/src/a.ts', 'packages/x/src/b.ts', 'packages/x/src/sub/c.ts'],
  ])
})
