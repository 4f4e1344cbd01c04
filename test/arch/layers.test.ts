import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { test } from 'node:test'
import { EXEMPTIONS } from './exemptions.ts'
import { type ImportLine, importsOf, isTest, readAll, type SourceFile, withoutComments } from './sources.ts'

/** What the sources (not the tests) of a layer may import besides their own folder. */
interface Layer {
  /** A folder, or one file. The first entry that fits a path is its layer. */
  at: string
  /** Files or folders of the same package. */
  own?: readonly string[]
  /** Packages; `node:` stands for everything that Node.js brings. */
  packages?: readonly string[]
}

const NODE = 'packages/broker-node/src'
const CONTRACT = ['ports.ts', 'counters.ts']
/** The one place where a limit is declared; whoever is held to it takes its type from there, and values as arguments. */
const TYPES_FOR_ALL = `${NODE}/config/schema.ts`
const CORE = '@midge/protocol-core'
const GROUND = 'engine/ground'
const inEngine = (room: string): string => `engine/${room}`

/** The allowed arrows, and there are no others. */
const LAYERS: readonly Layer[] = [
  // Pure: rules that need no fake are tested in microseconds and can be replayed.
  { at: 'packages/protocol-core/src', own: [''] },
  { at: 'packages/metrics-exporter/src', own: [''], packages: [CORE, 'prom-client', 'node:'] },
  { at: `${NODE}/main.ts`, own: ['cli'], packages: ['node:'] },
  { at: `${NODE}/index.ts`, own: [...CONTRACT, 'engine/aedes', 'library'] },
  { at: `${NODE}/ports.ts`, packages: [CORE, 'node:'] },
  { at: `${NODE}/counters.ts` },
  // The object graph: the only folder that sees two siblings.
  { at: `${NODE}/compose`, own: [''], packages: [CORE, '@midge/metrics-exporter', 'node:'] },
  // What programs call in place of the command line.
  {
    at: `${NODE}/library`,
    own: [...CONTRACT, 'compose', 'config', 'engine/aedes', 'lifecycle/version.ts', 'observe'],
    packages: [CORE],
  },
  // The only room that is a client of a broker.
  {
    at: `${NODE}/cli/messages`,
    own: ['cli/exit-codes.ts', 'cli/command-parts.ts', 'config', 'lifecycle/bootstrap.ts'],
    packages: [CORE, 'commander', 'mqtt', 'node:'],
  },
  // The command line is the other edge: it loads the configuration, logs, and hands the node to the process.
  {
    at: `${NODE}/cli`,
    own: [
      ...CONTRACT,
      ...['cli/messages', 'compose', 'config', 'lifecycle', 'observe', 'transfer', 'http/status-report.ts'],
    ],
    packages: [CORE, 'commander', 'node:'],
  },
  // From other brokers into a running node, by its API: words of the control plane, forms of hashes, nothing that runs.
  {
    at: `${NODE}/transfer`,
    own: ['admission/imported-hash.ts', 'tenancy/model'],
    packages: [CORE, 'yaml', 'zod', 'node:'],
  },
  { at: `${NODE}/config`, packages: [CORE, 'zod', 'yaml', 'node:'] },
  // What operators and tenants set up, over a port of the core; the models are all that it knows of the outside.
  { at: `${NODE}/tenancy`, own: CONTRACT, packages: [CORE, 'zod', 'node:'] },
  {
    at: `${NODE}/admission`,
    own: [...CONTRACT, 'outbound', 'tenancy'],
    packages: [CORE, '@node-rs/argon2', 'jose', 'zod', 'node:'],
  },
  { at: `${NODE}/outbound`, packages: [CORE, 'node:'] },
  { at: `${NODE}/cluster-local`, own: CONTRACT, packages: [CORE] },
  { at: `${NODE}/cluster-redis`, own: [...CONTRACT, 'redis'], packages: [CORE, 'mqemitter-redis', 'node:'] },
  // The rooms of the engine, from the ground up; what a lower one needs of a higher one is an interface of its own.
  { at: `${NODE}/engine/ground`, own: CONTRACT, packages: [CORE, 'node:stream'] },
  { at: `${NODE}/engine/connection`, own: [...CONTRACT, GROUND], packages: [CORE, 'node:stream'] },
  { at: `${NODE}/engine/limits`, own: [...CONTRACT, GROUND], packages: [CORE] },
  { at: `${NODE}/engine/routing`, own: [...CONTRACT, GROUND], packages: [CORE] },
  { at: `${NODE}/engine/sessions`, own: [...CONTRACT, GROUND, 'engine/routing'], packages: [CORE] },
  {
    at: `${NODE}/engine/delivery`,
    own: [...CONTRACT, GROUND, 'engine/routing', 'engine/sessions'],
    packages: [CORE],
  },
  {
    at: `${NODE}/engine/packets`,
    own: [...[...CONTRACT, GROUND], ...['connection', 'limits', 'routing', 'sessions', 'delivery'].map(inEngine)],
    packages: [CORE, 'node:crypto'],
  },
  // What there is to see of this node, for whoever looks from outside.
  {
    at: `${NODE}/engine/inspection`,
    own: [...CONTRACT, ...['ground', 'connection', 'routing', 'sessions'].map(inEngine)],
    packages: [CORE],
  },
  {
    at: `${NODE}/engine/broker-core.ts`,
    own: [
      ...CONTRACT,
      ...['ground', 'connection', 'limits', 'routing', 'sessions', 'delivery', 'packets'].map(inEngine),
    ],
    packages: [CORE, 'node:stream'],
  },
  {
    at: `${NODE}/engine/aedes`,
    own: [...CONTRACT, GROUND, 'engine/broker-core.ts'],
    packages: [CORE, 'aedes', 'node:'],
  },
  // What the API sees of the cluster.
  { at: `${NODE}/views`, own: CONTRACT, packages: [CORE, 'node:'] },
  // Who is told of events by HTTP; feeds come from whoever composes a node.
  { at: `${NODE}/webhooks`, own: [...CONTRACT, 'outbound', 'tenancy'], packages: [CORE, 'node:'] },
  // The routes of the HTTP server that need a key.
  { at: `${NODE}/api`, own: [...CONTRACT, 'tenancy', 'views', 'http'], packages: [CORE, 'fastify', 'zod', 'node:'] },
  { at: `${NODE}/http`, own: CONTRACT, packages: [CORE, 'fastify', 'node:'] },
  { at: `${NODE}/lifecycle`, own: CONTRACT, packages: [CORE, 'node:'] },
  { at: `${NODE}/listeners`, own: CONTRACT, packages: [CORE, 'ws', 'node:'] },
  { at: `${NODE}/observe`, own: CONTRACT, packages: [CORE, 'pino', 'node:'] },
  { at: `${NODE}/store-local`, own: CONTRACT, packages: [CORE, 'classic-level', 'node:'] },
  // The only room that knows the client library.
  { at: `${NODE}/redis`, own: CONTRACT, packages: [CORE, 'ioredis', 'node:'] },
  { at: `${NODE}/store-redis`, own: [...CONTRACT, 'redis'], packages: [CORE, 'node:'] },
]

/** What the tests and fixtures of a place may import on top of what its sources may. */
const TESTS: readonly Layer[] = [
  { at: 'packages/protocol-core/src', own: [''], packages: ['node:', 'fast-check'] },
  {
    at: `${NODE}/engine`,
    // Whole brokers on the adapters that live in memory.
    own: [...CONTRACT, 'engine', 'store-local', 'cluster-local'],
    packages: [CORE, `${CORE}/testing`, 'node:', 'fast-check'],
  },
  {
    at: 'packages',
    own: ['ports.ts', 'testing', 'listeners', 'config', 'lifecycle', 'store-local', 'cluster-local', 'redis'],
    packages: ['node:', 'fast-check', 'ioredis', 'ws', `${CORE}/testing`],
  },
  // Their own tiny codec: our encoder must not judge our decoder.
  { at: 'test/conformance', own: ['test/support'], packages: ['node:'] },
  { at: 'test/support', own: ['test/support'], packages: ['node:', '@midge/broker-node', 'aedes', 'ioredis', 'mqtt'] },
  { at: 'test/arch', packages: ['node:'] },
  {
    at: 'test',
    own: ['test'],
    packages: [
      'node:',
      '@midge/',
      'aedes',
      'aedes-persistence-redis',
      'fast-check',
      'ioredis',
      'mqemitter-redis',
      'mqtt',
      'ws',
    ],
  },
]

/** Globals by which a file of the protocol core would reach the outside, the clock or chance. */
const IMPURE =
  /\b(process\.|Date\.now|new Date\b|performance\.|set(?:Timeout|Interval|Immediate)\b|Math\.random|console\.|fetch\(|Buffer\b)/g

function layerOf(path: string, layers: readonly Layer[]): Layer | undefined {
  return layers.find(({ at }) => path === at || path.startsWith(`${at}/`))
}

/** A package's root for its relative imports: `packages/x/src`, or the repository for `test`. */
function packageRoot(path: string): string {
  return path.startsWith('packages/') ? path.split('/').slice(0, 3).join('/') : ''
}

function fits(target: string, allowed: readonly string[]): boolean {
  return allowed.some(entry => entry === '' || target === entry || target.startsWith(`${entry}/`))
}

function isAllowed(path: string, { specifier, isTypeOnly }: ImportLine, layers: readonly Layer[]): boolean {
  if (!specifier.startsWith('.')) {
    const packages = layers.flatMap(layer => layer.packages ?? [])
    return packages.some(name => specifier === name || (/[:/]$/.test(name) && specifier.startsWith(name)))
  }
  const base = packageRoot(path)
  const target = posix.join(posix.dirname(path), specifier)
  // Out of the package, into the sources of another: only by the door.
  if (!target.startsWith(base) || (base === '' && !target.startsWith('test/'))) return false
  if (isTypeOnly && target === TYPES_FOR_ALL) return true
  if (layers.some(({ at }) => target.startsWith(`${at}/`) && layerOf(target, [...LAYERS, ...TESTS])?.at === at))
    return true
  return fits(
    posix.relative(base, target),
    layers.flatMap(layer => layer.own ?? []),
  )
}

/** The import lines of a file that follow no allowed arrow, as `path:line: text`. */
function forbiddenImports({ path, text }: SourceFile): string[] {
  const layers = [layerOf(path, LAYERS), isTest(path) ? layerOf(path, TESTS) : undefined].filter(
    layer => layer !== undefined,
  )
  if (layers.length === 0) return [`${path}:1: belongs to no layer; add it to the table in test/arch/layers.test.ts`]
  return importsOf(text)
    .filter(line => !isAllowed(path, line, layers))
    .map(({ specifier, line }) => `${path}:${line}: may not import '${specifier}'`)
}

function impureLines({ path, text }: SourceFile): string[] {
  return withoutComments(text)
    .split('\n')
    .flatMap((line, index) => [...line.matchAll(IMPURE)].map(match => `${path}:${index + 1}: uses ${match[0]}`))
}

function environmentLines({ path, text }: SourceFile): string[] {
  return withoutComments(text)
    .split('\n')
    .flatMap((line, index) => (/\bprocess\.env\b/.test(line) ? [`${path}:${index + 1}: reads process.env`] : []))
}

function withoutExempted(rule: string, lines: string[]): string[] {
  const paths = EXEMPTIONS.filter(entry => entry.rule === rule).map(entry => entry.path)
  return lines.filter(line => !paths.some(path => line.startsWith(`${path}:`)))
}

const sources = readAll(['packages', 'test'], ['.ts'])

test('every import follows an allowed arrow', () => {
  assert.ok(sources.length > 100)
  assert.deepEqual(withoutExempted('layers', sources.flatMap(forbiddenImports)), [])
})

test('every entry of the table is a place that exists', () => {
  const missing = LAYERS.filter(({ at }) => !sources.some(({ path }) => path === at || path.startsWith(`${at}/`)))
  assert.deepEqual(missing, [])
})

test('the protocol core has no clock, timer, chance or output', () => {
  const core = sources.filter(({ path }) => path.startsWith('packages/protocol-core/') && !isTest(path))
  assert.ok(core.length > 20)
  assert.deepEqual(core.flatMap(impureLines), [])
})

test('only config/load-config.ts and tests read the environment', () => {
  const others = sources.filter(({ path }) => !isTest(path) && path !== `${NODE}/config/load-config.ts`)
  assert.deepEqual(withoutExempted('environment', others.flatMap(environmentLines)), [])
})

test('every exemption is about a file that is there and says why', () => {
  for (const { path, reason } of EXEMPTIONS) {
    assert.ok(
      sources.some(source => source.path === path),
      `${path} is exempted and not there`,
    )
    assert.match(reason, /^[A-Z].{20,}\.$/)
  }
})

for (const [path, specifier, isFine] of [
  ['packages/protocol-core/src/codec/x.ts', '../packet.ts', true],
  ['packages/protocol-core/src/x.ts', 'node:net', false],
  ['packages/protocol-core/src/x.ts', 'ioredis', false],
  ['packages/protocol-core/src/x.test.ts', 'fast-check', true],
  [`${NODE}/engine/ground/x.ts`, '../../ports.ts', true],
  [`${NODE}/engine/ground/x.ts`, '../routing/router.ts', false],
  [`${NODE}/engine/connection/x.ts`, '../ground/outlet.ts', true],
  [`${NODE}/engine/connection/x.ts`, '../packets/client-packets.ts', false],
  [`${NODE}/engine/sessions/x.ts`, '../connection/connection.ts', false],
  [`${NODE}/engine/sessions/x.test.ts`, '../connection/connection.ts', true],
  [`${NODE}/engine/delivery/x.ts`, '../sessions/session.ts', true],
  [`${NODE}/engine/packets/x.ts`, '../aedes/broker.ts', false],
  [`${NODE}/engine/packets/x.ts`, 'aedes', false],
  [`${NODE}/engine/aedes/x.ts`, '../broker-core.ts', true],
  [`${NODE}/engine/broker-core.ts`, './aedes/broker.ts', false],
  [`${NODE}/engine/ground/x.ts`, '../../store-redis/store-keys.ts', false],
  [`${NODE}/engine/ground/x.ts`, '../../config/load-config.ts', false],
  [`${NODE}/engine/ground/x.ts`, 'ioredis', false],
  [`${NODE}/engine/ground/x.ts`, '../../../../protocol-core/src/acl.ts', false],
  [`${NODE}/http/x.ts`, 'aedes', false],
  [`${NODE}/store-redis/x.ts`, 'mqemitter-redis', false],
  [`${NODE}/store-redis/x.ts`, 'ioredis', false],
  [`${NODE}/cluster-redis/x.ts`, 'ioredis', false],
  [`${NODE}/cluster-redis/x.ts`, '../redis/room.ts', true],
  [`${NODE}/cli/x.ts`, '../engine/broker.ts', false],
  [`${NODE}/cli/x.ts`, '../compose/start-node.ts', true],
  [`${NODE}/cli/cluster/x.ts`, '../../config/load-config.ts', true],
  [`${NODE}/compose/x.ts`, '../store-redis/index.ts', true],
  [`${NODE}/brand-new/x.ts`, './y.ts', false],
  ['test/conformance/x.test.ts', '@midge/protocol-core', false],
  ['test/conformance/x.test.ts', '../support/raw-client.ts', true],
  ['test/e2e/x.test.ts', 'mqtt', true],
  ['test/e2e/x.test.ts', '../../packages/broker-node/src/ports.ts', false],
] as const) {
  test(`the rule ${isFine ? 'lets' : 'does not let'} ${path} import ${specifier}`, () => {
    const quoted = `'${specifier}'`
    for (const line of [`import { a } from ${quoted}`, `export type { A } from ${quoted}`, `await import(${quoted})`]) {
      assert.equal(forbiddenImports({ path, text: `${line}\n` }).length === 0, isFine, line)
    }
  })
}

test('types of the configuration are for all, its values are not', () => {
  const path = `${NODE}/engine/ground/x.ts`
  const from = "from '../../config/schema.ts'\n"
  assert.equal(forbiddenImports({ path, text: `import type { Limits } ${from}` }).length, 0)
  for (const what of ['import { checkConfig }', 'import { type Limits }', 'export { checkConfig }']) {
    assert.equal(forbiddenImports({ path, text: `${what} ${from}` }).length, 1, what)
  }
})

test('the rules see code and not comments', () => {
  const text = '// process.env and Date.now()\n/* new Date() */\nconst now = Date.now()\n'
  const file = { path: 'packages/protocol-core/src/x.ts', text }
  assert.deepEqual(environmentLines(file), [])
  assert.deepEqual(impureLines(file), [`${file.path}:3: uses Date.now`])
  assert.equal(environmentLines({ ...file, text: 'const home = process.env["HOME"]' }).length, 1)
})
