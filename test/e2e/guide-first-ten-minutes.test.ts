import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it } from 'node:test'
import { repositoryRoot } from '../support/broker-under-test.ts'
import { MidgeCluster } from '../support/midge-cluster.ts'
import { killLeftovers, TestProcess } from '../support/test-process.ts'
import { within } from '../support/until.ts'

const GUIDE = 'docs/guides/first-ten-minutes.md'
const API_KEY = 'midge_operator_key-of-the-guide'
const GUIDE_MS = 120_000
/** Between the outputs of two steps. */
const MARK = '=-=-= step'

/** Commands of the guide, with what they are to print; `…` stands for anything. */
interface Step {
  commands: string
  expected: string | undefined
}

function stepsOf(markdown: string): Step[] {
  const form = /^```sh\n([\s\S]*?)^```\n(?:```text\n([\s\S]*?)^```\n)?/gm
  return [...markdown.matchAll(form)].map(match => ({ commands: match[1] ?? '', expected: match[2] }))
}

function patternOf(expected: string): RegExp {
  const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  return new RegExp(`^${expected.trim().split('…').map(literal).join('[\\s\\S]*')}$`)
}

let cluster: MidgeCluster
let folder: string
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'midge-guide-'))
  cluster = await MidgeCluster.start(3, { MIDGE_BOOTSTRAP_API_KEY: API_KEY })
})
after(async () => {
  await killLeftovers()
  await cluster.stop()
  rmSync(folder, { recursive: true, force: true })
})

it('every command of the guide does what the guide says', async () => {
  const steps = stepsOf(readFileSync(join(repositoryRoot, GUIDE), 'utf8'))
  assert.ok(steps.length >= 8)
  const script = steps.map(({ commands }) => `${commands}echo; echo '${MARK}'\n`).join('')
  const env = {
    API: `http://127.0.0.1:${cluster.node(0).ports.http}/api/v1`,
    KEY: API_KEY,
    ...{ A: String(cluster.node(0).port), B: String(cluster.node(1).port), C: String(cluster.node(2).port) },
  }
  // What runs in the background ends with the shell, also when a step fails or hangs.
  const guarded = `trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\ntrap 'exit 1' TERM\ncd ${folder}\n${script}`
  const bash = new TestProcess('guide', 'bash', ['-euo', 'pipefail', '-c', guarded], { env })
  const end = await within('the guide to end', bash.exited, GUIDE_MS).finally(() => bash.kill('SIGTERM'))
  const outputs = bash.stdout.split(MARK)
  steps.forEach(({ commands, expected }, index) => {
    const output = (outputs[index] ?? '').trim()
    if (expected !== undefined) assert.match(output, patternOf(expected), `${commands}\n${bash.tail()}`)
  })
  assert.deepEqual(end, { code: 0, signal: null }, bash.tail())
})
