import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EXEMPTIONS } from './exemptions.ts'
import { isTest, readAll, type SourceFile, withoutComments } from './sources.ts'

const PACKAGES = ['protocol-core', 'metrics-exporter', 'broker-node']

/** What a file names for the whole package: its classes, and everything it exports. */
function namesOf({ text }: SourceFile): string[] {
  const declared = /^(?:export )?(?:abstract )?class (\w+)|^export (?:async )?(?:interface|type|function|const) (\w+)/gm
  return [...withoutComments(text).matchAll(declared)].map(match => match[1] ?? match[2] ?? '')
}

function stemOf({ path }: SourceFile): string {
  return path.slice(path.lastIndexOf('/') + 1).replace(/\.ts$/, '')
}

/** `name: path, path` for every name that several files claim; a type and its constants in one file are one claim. */
function collisions(files: readonly SourceFile[], claims: (file: SourceFile) => string[]): string[] {
  const claimants = new Map<string, string[]>()
  for (const file of files) {
    for (const name of new Set(claims(file))) claimants.set(name, [...(claimants.get(name) ?? []), file.path])
  }
  return [...claimants].filter(([, paths]) => paths.length > 1).map(([name, paths]) => `${name}: ${paths.join(', ')}`)
}

const sources = readAll(['packages'], ['.ts']).filter(({ path }) => !isTest(path))
const below = (name: string): SourceFile[] => sources.filter(({ path }) => path.startsWith(`packages/${name}/src/`))

test('no two files of a package name a class, type, function or constant alike', () => {
  for (const name of PACKAGES) {
    assert.ok(below(name).length > 3, name)
    assert.deepEqual(collisions(below(name), namesOf), [])
  }
})

test('no two files of a package are called alike, but for doors and what is exempted', () => {
  const exempted = EXEMPTIONS.filter(({ rule }) => rule === 'file-name').map(({ path }) => path)
  for (const name of PACKAGES) {
    const files = below(name).filter(file => stemOf(file) !== 'index' && !exempted.includes(file.path))
    assert.deepEqual(
      collisions(files, file => [stemOf(file)]),
      [],
    )
  }
  const needless = exempted.filter(path => {
    const twin = sources.find(file => file.path === path)
    return twin !== undefined && sources.filter(file => stemOf(file) === stemOf(twin)).length < 2
  })
  assert.deepEqual(needless, [], 'exempted without need')
})

test('the rules find names that are claimed twice', () => {
  const files = [
    { path: 'a/groups.ts', text: 'export class Groups {}\nexport const x = 1\n' },
    { path: 'b/groups.ts', text: 'class Groups {}\n// export const x = 2\n' },
    { path: 'b/x.ts', text: 'export const Mode = {} as const\nexport type Mode = 1\nconst y = 1\n' },
    { path: 'b/y.ts', text: 'export interface Mode {}\nconst y = 1\n' },
  ]
  assert.deepEqual(collisions(files, namesOf), ['Groups: a/groups.ts, b/groups.ts', 'Mode: b/x.ts, b/y.ts'])
  assert.deepEqual(
    collisions(files, file => [stemOf(file)]),
    ['groups: a/groups.ts, b/groups.ts'],
  )
})
