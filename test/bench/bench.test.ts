import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CASES } from './load/cases.ts'
import { describeRun, markdownTable, type Round } from './load/report.ts'
import { runCase } from './load/run.ts'

const MEASURE_MS = 1000
/** Far below what either does on the slowest machine: the test proves the bench, not the brokers. */
const PER_SECOND_MIN = 500
const SMALL_FLEET = { publishers: 100, ratePerSecond: 700, warmUpMs: 300 }

test('the load bench measures Midge and Mosquitto and makes a table of it', async t => {
  const rounds: Round[] = []
  for (const name of ['qos0-10x10', 'qos1-10x10', 'latency-1000', 'fleet-qos1-12000', 'fleet-connect']) {
    const found = CASES.find(candidate => candidate.name === name)
    assert.ok(found, name)
    const isFleet = found.job.kind === 'fleet' || found.job.kind === 'connects'
    const benchCase = isFleet ? { ...found, job: { ...found.job, ...SMALL_FLEET } } : found
    for (const broker of ['midge', 'mosquitto'] as const) {
      await t.test(`${name}, ${broker}`, async () => {
        const outcome = await runCase(benchCase, broker, MEASURE_MS)
        rounds.push({ case: name, broker, round: 1, outcome })
        assert.ok((outcome.perSecond ?? outcome.connectsPerSecond ?? 0) > PER_SECOND_MIN, JSON.stringify(outcome))
        // The bound on what is outstanding is there so that nobody has a reason to drop.
        assert.equal(outcome.dropped ?? 0, 0, JSON.stringify(outcome))
        assert.ok(outcome.brokerCores > 0, 'the CPU time of the broker was read')
        if (benchCase.job.kind === 'latency') assert.ok((outcome.latencyMs?.p99 ?? 0) > 0)
        if (isFleet) assert.ok((outcome.cpuMicrosEach ?? 0) > 1, JSON.stringify(outcome))
      })
    }
  }
  const table = markdownTable({ ...describeRun(['midge', 'mosquitto'], MEASURE_MS / 1000), rounds })
  assert.match(table, /\| Case \| midge \| mosquitto \| Goal \|/)
  assert.match(table, /≥ 15 × mosquitto: [\d.]+ (met|missed)/)
  assert.equal(table.split('\n').filter(line => line.startsWith('| QoS')).length, 8)
  assert.match(table, /CPU per connect .*≤ 2.5 × mosquitto: [\d.]+ (met|missed)/)
})
