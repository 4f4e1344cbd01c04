import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EXEMPTIONS } from './exemptions.ts'
import { isTest, read, readAll, withoutComments } from './sources.ts'

/** One name that a package's door exports. */
interface DoorName {
  name: string
  /** What it is called in its file. */
  local: string
  /** The file, from the package's `src` and without ending. */
  file: string
}

/** The doors that are judged by who comes through; that of the broker node is for users of the library. */
const DOORS = [
  ['@midge/protocol-core', 'packages/protocol-core'],
  ['@midge/metrics-exporter', 'packages/metrics-exporter'],
] as const

/** What an `index.ts` exports by name. */
function doorNames(text: string): DoorName[] {
  return [...withoutComments(text).matchAll(/^export (?:type )?\{([^}]*)\} from '\.\/([\w./-]+)\.ts'/gm)].flatMap(
    match => listed(match[1] ?? '').map(({ name, alias }) => ({ name: alias, local: name, file: match[2] ?? '' })),
  )
}

function listed(braces: string): { name: string; alias: string }[] {
  return [...braces.matchAll(/(?:type )?\b(\w+)(?: as (\w+))?\s*(?:,|$)/g)].map(match => ({
    name: match[1] ?? '',
    alias: match[2] ?? match[1] ?? '',
  }))
}

/** The names that a text imports through the door of `packageName`; scripts take the compiled file itself. */
function importedFrom(packageName: string, text: string): string[] {
  const doors = [packageName, packageName.replace(/^@midge\/(.*)/, '$1/dist/index.js')]
  const imports = withoutComments(text).matchAll(/\{([^{}]*)\} (?:from |= await \w+\()'([\w@./-]+)'/g)
  return [...imports]
    .filter(match => doors.includes(match[2] ?? ''))
    .flatMap(match => listed(match[1] ?? '').map(({ name }) => name))
}

/** Top-level declarations of declaration files: name → text, which has signatures and no bodies. */
function declarationsIn(texts: readonly string[]): Map<string, string> {
  const found = new Map<string, string>()
  const name = /^(?:export )?(?:declare )?(?:abstract )?(?:class|interface|type|function|const) (\w+)/
  for (const part of texts.flatMap(text => withoutComments(text).split(/^(?=export |declare |interface |type )/m))) {
    const declared = name.exec(part)?.[1]
    if (declared !== undefined) found.set(declared, (found.get(declared) ?? '') + part)
  }
  return found
}

/** The exports that nobody takes and that no signature of a taken one mentions. */
function deadExports(
  names: readonly DoorName[],
  taken: ReadonlySet<string>,
  declarations: ReadonlyMap<string, string>,
): DoorName[] {
  const reached = new Set(names.filter(({ name }) => taken.has(name)).map(({ local }) => local))
  // A set yields what is added while it is walked.
  for (const local of reached) {
    for (const [word] of (declarations.get(local) ?? '').matchAll(/\b[A-Z]\w*\b/g)) {
      if (declarations.has(word)) reached.add(word)
    }
  }
  return names.filter(({ local }) => !reached.has(local))
}

const sources = readAll(['packages', 'scripts'], ['.ts', '.mjs']).filter(({ path }) => !isTest(path))
const exempted = EXEMPTIONS.filter(({ rule }) => rule === 'door').map(({ path }) => path)

for (const [packageName, folder] of DOORS) {
  test(`whatever ${packageName} exports is used by another package, or named by what is used`, () => {
    const names = doorNames(read(`${folder}/src/index.ts`))
    assert.ok(names.length > 3)
    const files = [...new Set(names.map(({ file }) => file))]
    const declarations = declarationsIn(files.map(file => read(`${folder}/dist/${file}.d.ts`)))
    const others = sources.filter(({ path }) => !path.startsWith(`${folder}/`))
    const taken = new Set(others.flatMap(({ text }) => importedFrom(packageName, text)))
    const isExempted = ({ file }: DoorName): boolean => exempted.includes(`${folder}/src/${file}.ts`)
    const dead = deadExports(names, taken, declarations)
    assert.deepEqual(
      dead.filter(entry => !isExempted(entry)).map(({ name, file }) => `${name} of ${file}.ts`),
      [],
      'take them off the door; what only tests need belongs to /testing',
    )
    const needless = exempted.filter(
      path => path.startsWith(folder) && !dead.some(({ file }) => path === `${folder}/src/${file}.ts`),
    )
    assert.deepEqual(needless, [], 'exempted without need')
  })
}

test('the rule finds what nobody takes, and follows signatures', () => {
  const index = `/** export { g } from './a.ts' */\nexport { f, type T, Unused } from './a.ts'
export { inner as outer } from './b.ts'\nexport type { Deep } from './b.ts'\n`
  const names = doorNames(index)
  assert.deepEqual(
    names.map(({ name }) => name),
    ['f', 'T', 'Unused', 'outer', 'Deep'],
  )
  const taken = new Set(
    importedFrom('@midge/x', "import { f, type Other } from '@midge/x'\n// { outer } from '@midge/x'"),
  )
  assert.deepEqual([...taken], ['f', 'Other'])
  const declarations = declarationsIn([
    'export declare function f(of: T): void\nexport interface T {\n  deep: Deep\n}\nexport type Unused = Deep\n',
    'export declare const inner: number\n/** See {@link Unused}. */\nexport type Deep = 1\n',
  ])
  assert.deepEqual(
    deadExports(names, taken, declarations).map(({ name }) => name),
    ['Unused', 'outer'],
  )
})
