import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { renderConfigurationDoc } from '../config/document.ts'
import { DURABILITY_SENTENCES } from '../lifecycle/durability.ts'

const root = new URL('../../../../', import.meta.url)

function read(path: string): string {
  return readFileSync(new URL(path, root), 'utf8')
}

/** First cells of a document's table rows that are written as code. */
function documented(path: string): string[] {
  return [...read(path).matchAll(/^\| `([^`]+)` \|/gm)].map(match => match[1] ?? '')
}

function assertSame(inDocument: string[], inCode: string[]): void {
  const differences = {
    missingInDocument: inCode.filter(name => !inDocument.includes(name)),
    unknownToCode: inDocument.filter(name => !inCode.includes(name)),
  }
  assert.deepEqual(differences, { missingInDocument: [], unknownToCode: [] })
}

/** Every event that the sources of the node name, as a literal. */
function loggedEvents(): string[] {
  const sources = readdirSync(new URL('packages/broker-node/src', root), { recursive: true, encoding: 'utf8' })
  const events = sources
    .filter(path => path.endsWith('.ts') && !path.endsWith('.test.ts') && !/^testing|[/\\]testing[/\\]/.test(path))
    .flatMap(path => [...read(`packages/broker-node/src/${path}`).matchAll(/\bevent: '([a-z_.]+)'/g)])
  return [...new Set(events.map(match => match[1] ?? ''))]
}

test('docs/log-events.md lists every event of the sources and no other', () => {
  assertSame(documented('docs/log-events.md'), loggedEvents())
})

test('docs/errors.md lists every error code and no other', () => {
  const source = read('packages/protocol-core/src/errors.ts')
  const codes = [...source.matchAll(/^ {2}\| '(MIDGE_[A-Z_]+)'/gm)].map(match => match[1] ?? '')
  assert(codes.length > 5)
  assertSame(documented('docs/errors.md'), codes)
})

test('docs/configuration.md is what the schema says', () => {
  assert.equal(read('docs/configuration.md'), renderConfigurationDoc(DURABILITY_SENTENCES))
})
