import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EXEMPTIONS } from './exemptions.ts'
import { isTest, listFiles, read, readAll, type SourceFile, withoutComments } from './sources.ts'

const FILE_LINES_MAX = 600
const BANNED_NAME_PARTS = ['util', 'utils', 'helper', 'helpers', 'manager', 'misc', 'common']
/** Written so that this file does not find itself. */
const LEFTOVER = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`)
const AS_ANY = new RegExp(`\\bas ${'any'}\\b|<${'any'}>`)
/** Folders of a person's machine; topics and paths inside a container look different. */
const MACHINE_PATH = /(^|[\s'"`(=:])\/(root|Users\/\w+|home\/\w+|work|workspace)\/[\w.-]/
const REGISTRY_HOST = /https?:\/\/(?!registry\.npmjs\.org\b)[\w.-]*\b(registry|artifactory|nexus|verdaccio|npm-proxy)\b/

type Rule = (file: SourceFile) => string[]

function lines(matches: (line: string) => boolean, what: string): Rule {
  return ({ path, text }) =>
    text.split('\n').flatMap((line, index) => (matches(line) ? [`${path}:${index + 1}: ${what}: ${line.trim()}`] : []))
}

const tooLong: Rule = ({ path, text }) => {
  const count = text.split('\n').length - 1
  return count > FILE_LINES_MAX ? [`${path}: ${count} lines, at most ${FILE_LINES_MAX}: find the second noun`] : []
}

const badName: Rule = ({ path }) => {
  const name = path.slice(path.lastIndexOf('/') + 1)
  const stem = name.replace(/\.\w+$/, '')
  if (!/^[a-z0-9]+(?:[-.][a-z0-9]+)*$/.test(stem)) return [`${path}: not kebab-case`]
  const banned = stem.split(/[-.]/).find(part => BANNED_NAME_PARTS.includes(part))
  return banned === undefined ? [] : [`${path}: '${banned}' says nothing; name the noun`]
}

const leftover: Rule = lines(line => LEFTOVER.test(line), 'unfinished')
const asAny: Rule = ({ path, text }) => lines(line => AS_ANY.test(line), 'any')({ path, text: withoutComments(text) })
const prints: Rule = lines(line => /\bconsole\.\w+\(/.test(line), 'prints past the logger')
const starExport: Rule = lines(line => /^export \* from/.test(line), 'exports without names')
const machinePath: Rule = lines(line => MACHINE_PATH.test(line), 'path of one machine')
const registryHost: Rule = lines(line => REGISTRY_HOST.test(line), 'package registry')

const code = readAll(['packages', 'test', 'scripts'], ['.ts', '.mjs', '.lua', '.js'])
const typescript = code.filter(({ path }) => path.endsWith('.ts'))
const texts = listFiles('')
  .filter(path => /\.(ts|mjs|js|json|lua|md|yml|yaml|cfg|service|sh|toml)$|(^|\/)(Dockerfile|LICENSE|run)$/.test(path))
  .map(path => ({ path, text: read(path) }))

function findings(files: readonly SourceFile[], rule: Rule, exempted: readonly string[] = []): string[] {
  return files.filter(({ path }) => !exempted.includes(path)).flatMap(rule)
}

test(`no file is longer than ${FILE_LINES_MAX} lines`, () => {
  const exempted = EXEMPTIONS.filter(({ rule }) => rule === 'file-length').map(({ path }) => path)
  assert.deepEqual(findings(code, tooLong, exempted), [])
  const needless = exempted.filter(path => code.some(file => file.path === path && tooLong(file).length === 0))
  assert.deepEqual(needless, [], 'exempted without need')
})

test('file names are kebab-case and name something', () => {
  assert.deepEqual(findings(code, badName), [])
})

test('nothing is left unfinished', () => {
  assert.deepEqual(findings(code, leftover), [])
})

test('nothing is any', () => {
  assert.deepEqual(findings(typescript, asAny), [])
})

test('only the command line and tests print', () => {
  const quiet = typescript.filter(({ path }) => !isTest(path) && !path.includes('/src/cli/'))
  assert.ok(quiet.length > 80)
  assert.deepEqual(findings(quiet, prints), [])
})

test('doors export by name', () => {
  assert.deepEqual(findings(typescript, starExport), [])
})

test('no file knows a machine or its package registry', () => {
  assert.ok(texts.length > 150)
  assert.deepEqual(findings(texts, machinePath), [])
  assert.deepEqual(findings(texts, registryHost), [])
})

test('the lock file names packages without the address they came from', () => {
  assert.doesNotMatch(read('package-lock.json'), /"resolved": "[a-z+]*:\/\//)
})

test('the workspaces move in lock-step and under one licence', () => {
  const manifests = listFiles('')
    .filter(path => /^(packages\/[\w-]+\/|test\/)?package\.json$/.test(path))
    .map(path => JSON.parse(read(path)) as { name: string; version: string; license: string })
  assert.ok(manifests.length >= 5)
  assert.equal(new Set(manifests.map(({ version }) => version)).size, 1)
  assert.deepEqual([...new Set(manifests.map(({ license }) => license))], ['Apache-2.0'])
})

for (const [rule, path, text] of [
  [tooLong, 'a.ts', 'x\n'.repeat(FILE_LINES_MAX + 1)],
  [badName, 'packages/a/src/topicFilter.ts', ''],
  [badName, 'packages/a/src/string-utils.ts', ''],
  [leftover, 'a.ts', `// ${'TO' + 'DO'}: later\n`],
  [asAny, 'a.ts', `const a = b as ${'any'}\n`],
  [prints, 'a.ts', "  console.log('x')\n"],
  [starExport, 'a.ts', "export * from './b.ts'\n"],
  [machinePath, 'a.md', `see /${'root'}/project/file\n`],
  [registryHost, 'a.json', `"https://npm.${'registry'}.internal/x"\n`],
] as const) {
  test(`the rule finds ${JSON.stringify(text.slice(0, 40))} in ${path}`, () => {
    assert.equal(rule({ path, text }).length, 1)
  })
}
