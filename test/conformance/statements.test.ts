import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot } from '../support/broker-under-test.ts'

/** A row of statements.json. */
interface Statement {
  readonly says: string
  readonly tests?: readonly string[]
  readonly reason?: string
}

/** How many statements each section of a standard has; they are numbered from 1. */
const sections: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  // biome-ignore format: a table
  'v3.1.1': {
    '1.5.3': 3, '2.2.2': 2, '2.3.1': 7, '3.1.0': 2, '3.1.2': 24, '3.1.3': 11, '3.1.4': 5, '3.2.0': 1, '3.2.2': 6,
    '3.3.1': 12, '3.3.2': 3, '3.3.4': 1, '3.3.5': 2, '3.6.1': 1, '3.8.1': 1, '3.8.3': 4, '3.8.4': 6, '3.9.3': 2,
    '3.10.1': 1, '3.10.3': 2, '3.10.4': 6, '3.12.4': 1, '3.14.1': 1, '3.14.4': 3, '4.1.0': 2, '4.3.1': 1, '4.3.2': 2,
    '4.3.3': 2, '4.4.0': 1, '4.5.0': 2, '4.6.0': 6, '4.7.1': 3, '4.7.2': 1, '4.7.3': 4, '4.8.0': 2, '6.0.0': 4,
    '7.0.0': 2, '7.1.1': 1, '7.1.2': 1,
  },
  // biome-ignore format: a table
  v5: {
    '1.5.4': 3, '1.5.5': 1, '1.5.7': 1, '2.1.3': 1, '2.2.1': 6, '2.2.2': 1, '3.1.0': 2, '3.1.2': 30, '3.1.3': 12,
    '3.1.4': 6, '3.2.0': 2, '3.2.2': 22, '3.3.1': 13, '3.3.2': 20, '3.3.4': 10, '3.4.2': 3, '3.5.2': 3, '3.6.1': 1,
    '3.6.2': 3, '3.7.2': 3, '3.8.1': 1, '3.8.3': 5, '3.8.4': 8, '3.9.2': 2, '3.9.3': 2, '3.10.1': 1, '3.10.3': 2,
    '3.10.4': 6, '3.11.2': 2, '3.11.3': 2, '3.12.4': 1, '3.14.0': 1, '3.14.1': 1, '3.14.2': 4, '3.14.4': 3,
    '3.15.1': 1, '3.15.2': 3, '4.1.0': 2, '4.2': 1, '4.3.1': 1, '4.3.2': 5, '4.3.3': 13, '4.4.0': 2, '4.5.0': 2,
    '4.6.0': 6, '4.7.0': 1, '4.7.1': 2, '4.7.2': 1, '4.7.3': 4, '4.8.2': 6, '4.9.0': 3, '4.12.0': 7, '4.12.1': 2,
    '4.13.1': 1, '4.13.2': 1, '6.0.0': 4,
  },
}

/** The standard has no [MQTT-2.2.1-1] in version 5. */
const absent = new Set(['v5 MQTT-2.2.1-1'])

const folder = join(repositoryRoot, 'test/conformance')
const statements: Record<string, Record<string, Statement>> = JSON.parse(
  readFileSync(join(folder, 'statements.json'), 'utf8'),
)

function wantedIds(version: string): string[] {
  return Object.entries(sections[version] ?? {})
    .flatMap(([section, count]) => Array.from({ length: count }, (_, i) => `MQTT-${section}-${i + 1}`))
    .filter(id => !absent.has(`${version} ${id}`))
}

function rows(): [key: string, version: string, id: string, row: Statement][] {
  return Object.entries(statements).flatMap(([version, entries]) =>
    Object.entries(entries).map(([id, row]): [string, string, string, Statement] => [
      `${version} ${id}`,
      version,
      id,
      row,
    ]),
  )
}

test('statements.json lists every statement of both standards and no other', () => {
  assert.deepEqual(Object.keys(statements), Object.keys(sections))
  for (const version of Object.keys(sections)) {
    assert.deepEqual(Object.keys(statements[version] ?? {}).sort(), wantedIds(version).sort())
  }
})

test('every statement has a short text and either tests or a reason', () => {
  for (const [key, , , row] of rows()) {
    assert.ok(row.says.length > 0 && row.says.length < 100, key)
    const tests = row.tests?.length ?? 0
    assert.notEqual(tests > 0, (row.reason?.length ?? 0) > 10, `${key} needs tests or a reason`)
  }
})

test('every named test exists and claims its statement', () => {
  const sources = new Map(
    readdirSync(folder)
      .filter(name => name.endsWith('.test.ts'))
      .map(name => [name, readFileSync(join(folder, name), 'utf8')]),
  )
  for (const [key, version, id, row] of rows()) {
    for (const name of row.tests ?? []) {
      const [file, ...words] = name.split(': ')
      const source = sources.get(file ?? '') ?? ''
      const text = words.join(': ')
      const quoted = [`'${text}'`, `"${text}"`, `'${text.replaceAll("'", "\\'")}'`]
      const at = Math.max(...quoted.map(q => source.indexOf(q)))
      assert.ok(at > 0, `${key}: no test "${name}"`)
      const call = source.slice(source.lastIndexOf('conform(', at), at)
      const claims = [...call.matchAll(/'([^']+)'/g)].map(m => (m[1] ?? '').split(' '))
      assert.ok(
        claims.some(([v, ...ids]) => v === version && ids.includes(id)),
        `"${name}" does not claim ${key}`,
      )
    }
  }
})

test('every claim of a test is listed', () => {
  for (const file of readdirSync(folder).filter(name => name.endsWith('.test.ts'))) {
    const source = readFileSync(join(folder, file), 'utf8')
    for (const [, list] of source.matchAll(/^conform\(\s*\[([^\]]*)\]/gm)) {
      for (const [, claim] of (list ?? '').matchAll(/'([^']+)'/g)) {
        const [version, ...ids] = (claim ?? '').split(' ')
        for (const id of ids) {
          const listed = statements[version ?? '']?.[id]?.tests ?? []
          assert.ok(
            listed.some(name => name.startsWith(`${file}: `)),
            `${file} claims ${version} ${id}`,
          )
        }
      }
    }
  }
})
