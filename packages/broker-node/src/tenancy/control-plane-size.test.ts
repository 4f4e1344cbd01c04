import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recordKey } from './record-key.ts'
import { MemoryRecords } from './testing/memory-records.ts'
import { startPlane } from './testing/test-plane.ts'

const COUNT = 100_000

/** Proofs as they really are: argon2id and the keys of SCRAM-SHA-256. */
function proofOf(index: number): object {
  const bytes = String(index).padStart(43, 'A')
  return {
    hash: `$argon2id$v=19$m=19456,t=2,p=1$${bytes.slice(0, 22)}$${bytes}`,
    scramSha256: {
      salt: 'AAAAAAAAAAAAAAAAAAAAAA==',
      iterations: 10_000,
      storedKey: `${bytes}=`,
      serverKey: `${bytes}=`,
    },
  }
}

function manyRecords(): MemoryRecords {
  const records = new MemoryRecords()
  for (let index = 0; index < COUNT; index++) {
    const username = `user-${(index * 7919) % COUNT}`
    const user = { username, proof: proofOf(index), isUnrestricted: false, isEnabled: true, connectionsMax: null }
    records.rows.set(recordKey('user', 'big', username), JSON.stringify({ ...user, createdAtMs: 1, epoch: 0 }))
    const rule = { id: `r${index}`, type: 'topic', username, pattern: `dev/${index}/#`, read: true, write: true }
    const rest = { effect: 'allow', priority: 0, createdAtMs: 1 }
    records.rows.set(recordKey('rule', 'big', rule.id), JSON.stringify({ ...rule, ...rest }))
  }
  return records
}

function msOf(work: () => unknown): number {
  const startMs = performance.now()
  work()
  return performance.now() - startMs
}

test('100,000 users and as many rules are read within 10 s of CPU, and a page of them takes at most 10 ms', async t => {
  const records = manyRecords()
  const before = process.cpuUsage()
  const plane = await startPlane(records)
  const { user, system } = process.cpuUsage(before)
  const loadMs = (user + system) / 1000
  assert.equal(plane.users.count('big'), COUNT)
  assert.equal(plane.rules.count('big'), COUNT)
  const first = msOf(() => plane.users.list('big', { countMax: 1000 }))
  const times: number[] = []
  for (let round = 0; round < 200; round++) {
    const username = `user-${round * 499}`
    // Between two pages something changes, as it does while somebody imports.
    records.rows.delete(recordKey('user', 'big', username))
    plane.tables.onRecord(recordKey('user', 'big', username), undefined)
    times.push(msOf(() => plane.users.list('big', { countMax: 1000, after: username })))
    times.push(msOf(() => plane.rules.list('big', { countMax: 1000 }, `user-${round * 499 + 1}`)))
  }
  const p95 = times.sort((a, b) => a - b)[Math.floor(times.length * 0.95)] ?? 0
  t.diagnostic(`read in ${Math.round(loadMs)} ms; first page ${first.toFixed(1)} ms; p95 ${p95.toFixed(2)} ms`)
  assert.ok(loadMs < 10_000)
  assert.ok(p95 < 10)
})
