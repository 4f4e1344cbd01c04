import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { test } from 'node:test'
import { isTest, listFiles, read, readAll, withoutComments } from './sources.ts'

const sources = readAll(['packages'], ['.ts']).filter(({ path }) => !isTest(path))
const markdown = listFiles('').filter(path => path.endsWith('.md'))

/** First cells of a document's table rows that are written as code. */
function documented(path: string): string[] {
  return [...read(path).matchAll(/^\| `([^`]+)` \|/gm)].map(match => match[1] ?? '')
}

function assertSame(inDocument: readonly string[], inCode: readonly string[]): void {
  const differences = {
    missingInDocument: inCode.filter(name => !inDocument.includes(name)),
    unknownToCode: inDocument.filter(name => !inCode.includes(name)),
  }
  assert.deepEqual(differences, { missingInDocument: [], unknownToCode: [] })
}

function literals(pattern: RegExp, path?: string): string[] {
  const texts = path === undefined ? sources.map(({ text }) => withoutComments(text)) : [read(path)]
  return [...new Set(texts.flatMap(text => [...text.matchAll(pattern)].map(match => match[1] ?? '')))]
}

test('docs/log-events.md lists every event of the sources and no other', () => {
  const events = literals(/\bevent: '([a-z_.]+)'/g)
  assert.ok(events.length > 30)
  assertSame(documented('docs/log-events.md'), events)
})

test('docs/errors.md lists every error code and no other', () => {
  const codes = literals(/^ {2}\| '(MIDGE_[A-Z_]+)'/gm, 'packages/protocol-core/src/errors.ts')
  assert.ok(codes.length > 5)
  assertSame(documented('docs/errors.md'), codes)
})

test('docs/api.md lists every route of /api/v1 with its scope and no other', () => {
  const routes = sources.filter(({ path }) => path.includes('broker-node/src/api/routes/'))
  const form = /(?:method: '([A-Z]+)',\s*)?path: '(\/[^']*)',\s*access: '([a-z:]+)'/g
  const inCode = routes.flatMap(({ text }) =>
    [...text.matchAll(form)].map(match => `${match[1] ?? 'GET'} ${match[2]} ${match[3]}`),
  )
  assert.ok(inCode.length > 60)
  const rows = [...read('docs/api.md').matchAll(/^\| `([A-Z]+ \/[^`]*)` \| ([a-z:]+) \|/gm)]
  assertSame(
    rows.map(match => `${match[1]} ${match[2]}`),
    inCode,
  )
})

test('docs/delivery.md lists every reason to drop a message and no other', () => {
  const reasons = literals(/^ {2}\w+: '([a-z_]+)',$/gm, 'packages/broker-node/src/counters.ts')
  assert.ok(reasons.length > 5)
  assertSame(documented('docs/delivery.md'), reasons)
})

test('docs/adr/dependencies.md lists every production dependency and no other', () => {
  const manifests = listFiles('packages').filter(path => path.endsWith('/package.json'))
  const dependencies = manifests.flatMap(path => {
    const manifest = JSON.parse(read(path)) as { dependencies?: Record<string, string> }
    return Object.keys(manifest.dependencies ?? {}).filter(name => !name.startsWith('@midge/'))
  })
  assertSame(documented('docs/adr/dependencies.md'), [...new Set(dependencies)])
})

/** What a door re-exports, with the file that declares it. */
function exportsOfDoor(door: string): { name: string; file: string }[] {
  return [...withoutComments(read(door)).matchAll(/export (?:type )?\{([^}]*)\} from '([^']+)'/g)].flatMap(match => {
    const names = (match[1] ?? '').split(',').map(name => name.trim().replace(/^type /, ''))
    const file = posix.join(posix.dirname(door), match[2] ?? '')
    return names.filter(name => name !== '').map(name => ({ name, file }))
  })
}

/** True when a declaration of `name` has a docstring right above it. */
function hasDocstring(text: string, name: string): boolean {
  const declaration = new RegExp(
    `^export (?:abstract |async )*(?:function|class|interface|type|const) ${name}\\b`,
    'gm',
  )
  return [...text.matchAll(declaration)].some(match => text.slice(0, match.index).trimEnd().endsWith('*/'))
}

for (const door of listFiles('packages').filter(path => /^packages\/[\w-]+\/src\/(testing\/)?index\.ts$/.test(path))) {
  test(`everything that ${door} exports has a docstring`, () => {
    const exported = exportsOfDoor(door)
    assert.ok(exported.length > 0)
    const bare = exported.filter(({ name, file }) => !hasDocstring(read(file), name))
    assert.deepEqual(
      bare.map(({ name, file }) => `${name} in ${file}`),
      [],
    )
  })
}

test('the docstring rule sees what is there and what is not', () => {
  const text = '/** Says why. */\nexport function good(): void {}\n\nexport class Bad {}\n'
  assert.deepEqual([hasDocstring(text, 'good'), hasDocstring(text, 'Bad')], [true, false])
})

/** The anchor that a heading gets on the usual forges. */
function anchorOf(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{Letter}\p{Number}\s_-]/gu, '')
    .replace(/\s/g, '-')
}

function brokenLinks(path: string, text: string, known: readonly string[]): string[] {
  const prose = text.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(match => {
    const link = match[1] ?? ''
    if (/^(https?:|mailto:)/.test(link)) return []
    const [file = '', anchor] = link.split('#')
    const target = file === '' ? path : posix.join(posix.dirname(path), file).replace(/\/$/, '')
    if (!known.some(name => name === target || name.startsWith(`${target}/`))) return [`${path}: ${link} is not there`]
    if (anchor === undefined || !target.endsWith('.md')) return []
    const headings = [...(target === path ? text : read(target)).matchAll(/^#+ (.+)$/gm)]
    return headings.some(heading => anchorOf(heading[1] ?? '') === anchor)
      ? []
      : [`${path}: ${link} has no such heading`]
  })
}

test('every link between documents leads somewhere', () => {
  assert.ok(markdown.length > 15)
  const known = listFiles('')
  assert.deepEqual(
    markdown.flatMap(path => brokenLinks(path, read(path), known)),
    [],
  )
})

test('the link rule finds a missing file and a missing heading', () => {
  const text = '# A title, with `code`\n[a](gone.md) [b](#a-title-with-code) [c](#other) [d](https://example.org)\n'
  assert.deepEqual(brokenLinks('x.md', text, ['x.md']), [
    'x.md: gone.md is not there',
    'x.md: #other has no such heading',
  ])
})

/** The first table of a text, as it stands. */
function firstTable(text: string): string {
  return /(?:^\|.*\n)+/m.exec(text)?.[0] ?? ''
}

test('the README counts conformance as docs/conformance.md does', () => {
  const readme = read('README.md')
  const begin = readme.indexOf('<!-- conformance:begin -->')
  const block = readme.slice(begin, readme.indexOf('<!-- conformance:end -->', begin))
  const wanted = firstTable(read('docs/conformance.md'))
  assert.match(wanted, /MQTT 5/)
  assert.equal(firstTable(block), wanted, 'copy the first table of docs/conformance.md into README.md')
})

test('every setting is read by somebody', () => {
  const keys = [...read('docs/configuration.md').matchAll(/^\| `([\w.]+)`<br>/gm)].map(match => match[1] ?? '')
  assert.ok(keys.length > 40)
  const readers = sources.filter(({ path }) => /broker-node\/src\/(compose|cli)\//.test(path))
  const composition = readers.map(({ text }) => withoutComments(text)).join('\n')
  const others = sources.filter(({ path }) => !path.includes('/src/config/'))
  const code = others.map(({ text }) => withoutComments(text)).join('\n')
  const unread = keys.filter(key => {
    const [group = '', leaf] = [key.split('.')[0], key.split('.').at(-1)]
    const handsOn = new RegExp(
      `\\bconfig\\.${group}\\b|\\{[^{}=]*\\b${group}\\b[^{}=]*\\} = (?:this\\.\\w+\\.)?config\\b`,
    )
    return !(handsOn.test(composition) && new RegExp(`[.{,]\\s*${leaf}\\b`).test(code))
  })
  assert.deepEqual(unread, [])
})

/** Environment variables that are no configuration keys. */
const OTHER_VARIABLES = /^MIDGE_(CONFIG_FILE|API_KEY|API_URL|TEST_[A-Z_]+)$/

test('every MIDGE_ name in documents and deployment files is a setting or an error code', () => {
  const settings = [...read('docs/configuration.md').matchAll(/<br>`(MIDGE_[A-Z_]+)`(.*)/g)]
  const names = new Set(settings.map(match => match[1]))
  for (const match of settings) if ((match[2] ?? '').includes('*Secret.*')) names.add(`${match[1]}_FILE`)
  for (const code of documented('docs/errors.md')) names.add(code)
  assert.ok(names.size > 50)
  const files = listFiles('').filter(path => /\.(md|yml|yaml|cfg|service|sh)$|Dockerfile$/.test(path))
  const unknown = files.flatMap(path =>
    [...read(path).matchAll(/\bMIDGE_[A-Z][A-Z_]*[A-Z]\b/g)]
      .map(match => match[0])
      .filter(name => !names.has(name) && !OTHER_VARIABLES.test(name))
      .map(name => `${path}: ${name}`),
  )
  assert.deepEqual(unknown, [])
})

test('decision records are numbered without gaps and have their five parts', () => {
  const records = listFiles('docs/adr').filter(path => /\/\d{4}-/.test(path))
  assert.ok(records.length >= 8)
  records.forEach((path, index) => {
    assert.ok(path.startsWith(`docs/adr/${String(index + 1).padStart(4, '0')}-`), `${path} is out of sequence`)
    const headings = [...read(path).matchAll(/^## (.+)$/gm)].map(match => match[1])
    const wanted = ['Context', 'Options', 'Decision', 'Consequences', 'What would change our mind']
    assert.deepEqual(headings, wanted, path)
  })
})

test('the changelog begins with the version of the packages', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string }
  const [newest] = [...read('CHANGELOG.md').matchAll(/^## (?!Unreleased$)(\S+)/gm)].map(match => match[1])
  assert.equal(newest, version)
})

test('every package says in its README what it is', () => {
  const folders = listFiles('packages').filter(path => /^packages\/[\w-]+\/package\.json$/.test(path))
  for (const path of folders) {
    const readme = path.replace('package.json', 'README.md')
    assert.ok(listFiles('packages').includes(readme), `${readme} is missing`)
    assert.ok(read(readme).split('\n').length <= 60, `${readme} is longer than a page`)
  }
})
