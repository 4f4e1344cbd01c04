import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BrokerError, type ErrorCode } from '../errors.ts'
import type { RecordListener, RecordStore } from '../ports/records.ts'

/** A record store that has not been started. */
export interface RecordsUnderTest {
  records: RecordStore
  /** Stops it and opens another one on what it has kept; absent for one that keeps nothing. */
  reopen?: () => Promise<RecordStore>
  dispose(): Promise<void>
}

/** Makes a store without records. */
export type MakeRecords = () => Promise<RecordsUnderTest>

/** A listener that keeps what it is told: line by line, and what it adds up to. */
class RecordingListener implements RecordListener {
  readonly lines: string[] = []
  readonly records = new Map<string, string>()
  /** How often everything was told. */
  tellings = 0

  onRecord(key: string, value: string | undefined): void {
    this.lines.push(`${key}=${value}`)
    if (value === undefined) this.records.delete(key)
    else this.records.set(key, value)
  }

  onRecordsReset(): void {
    this.lines.push('reset')
    this.records.clear()
  }

  onRecordsTold(): void {
    this.tellings++
  }
}

const ODD_KEYS = ['user\0one\0größe 🦟', '__proto__', 'constructor', '*', 'a b', 'plan', `k${'x'.repeat(2_047)}`]

function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return error => error instanceof BrokerError && error.code === code
}

type Start = () => Promise<{ records: RecordStore; listener: RecordingListener; under: RecordsUnderTest }>

const promises: [name: string, check: (start: Start) => Promise<void>][] = [
  [
    'has told the listener of a change before the write resolves',
    async start => {
      const { records, listener } = await start()
      for (const [i, key] of ODD_KEYS.entries()) {
        assert.deepEqual(await records.write([{ key, value: `{"n":${i},"t":"ö🦟"}` }]), { everywhere: true })
        assert.equal(listener.records.get(key), `{"n":${i},"t":"ö🦟"}`)
      }
      assert.equal(listener.lines.length, ODD_KEYS.length)
    },
  ],
  [
    'removes a record, and one that is not there',
    async start => {
      const { records, listener } = await start()
      await records.write([{ key: 'a', value: '1' }])
      await records.write([
        { key: 'a', value: undefined },
        { key: 'b', value: undefined, expected: { value: undefined } },
      ])
      assert.deepEqual([...listener.records], [])
      assert.ok(listener.lines.includes('a=undefined'))
    },
  ],
  [
    'makes no change at all when one expectation does not hold',
    async start => {
      const { records, listener } = await start()
      await records.write([{ key: 'a', value: '1' }])
      const linesBefore = [...listener.lines]
      const others = [
        { key: 'first', value: '1' },
        { key: 'a', value: '2' },
      ]
      for (const failing of [
        { key: 'a', value: '3', expected: { value: undefined } },
        { key: 'a', value: '3', expected: { value: '"1"' } },
        { key: 'none', value: '3', expected: { value: '1' } },
        { key: 'none', value: undefined, expected: { value: '' } },
      ]) {
        await assert.rejects(records.write([...others, failing]), hasCode('MIDGE_RECORD_CONFLICT'))
      }
      assert.deepEqual(listener.lines, linesBefore)
      await records.write([{ key: 'a', value: '4', expected: { value: '1' } }])
      assert.deepEqual([...listener.records], [['a', '4']])
    },
  ],
  [
    'holds expectations against what was there before the write; of changes of one record the last one counts',
    async start => {
      const { records, listener } = await start()
      await records.write([
        { key: 'a', value: '1', expected: { value: undefined } },
        { key: 'a', value: '2', expected: { value: undefined } },
      ])
      assert.deepEqual([...listener.records], [['a', '2']])
    },
  ],
  [
    'lets exactly one of concurrent creations of a record win, 100 times',
    async start => {
      const { records, listener } = await start()
      for (let i = 0; i < 100; i++) {
        const key = `race ${i}`
        const outcomes = await Promise.allSettled(
          ['1', '2', '3'].map(value => records.write([{ key, value, expected: { value: undefined } }])),
        )
        const won = outcomes.flatMap((outcome, n) => (outcome.status === 'fulfilled' ? [String(n + 1)] : []))
        assert.equal(won.length, 1)
        assert.equal(listener.records.get(key), won[0])
      }
    },
  ],
  [
    'takes 1,000 changes in one write, and values of 256 KiB',
    async start => {
      const { records, listener } = await start()
      await records.write(Array.from({ length: 1_000 }, (_, i) => ({ key: `key ${i}`, value: `${i}` })))
      assert.equal(listener.records.size, 1_000)
      assert.equal(listener.records.get('key 999'), '999')
      const value = 'v'.repeat(256 * 1024)
      await records.write([{ key: 'large', value }])
      assert.equal(listener.records.get('large'), value)
    },
  ],
  [
    'refuses what is beyond its bounds, and changes nothing',
    async start => {
      const { records, listener } = await start()
      const isInvalid = hasCode('MIDGE_INVALID')
      const change = { key: 'a', value: '1' }
      await assert.rejects(records.write(new Array(1_001).fill(change)), isInvalid)
      await assert.rejects(records.write([change, { key: '', value: '1' }]), isInvalid)
      await assert.rejects(records.write([change, { key: 'k'.repeat(2_049), value: '1' }]), isInvalid)
      await assert.rejects(records.write([change, { key: 'b', value: '' }]), isInvalid)
      await assert.rejects(records.write([change, { key: 'b', value: 'v'.repeat(256 * 1024 + 1) }]), isInvalid)
      const large = { key: 'c', value: 'v'.repeat(256 * 1024) }
      await assert.rejects(records.write(new Array(17).fill(large)), isInvalid)
      assert.deepEqual(listener.lines, [])
    },
  ],
  [
    'has everything again after a restart, and goes on from there',
    async start => {
      const { records, listener, under } = await start()
      await records.write(ODD_KEYS.map((key, i) => ({ key, value: `${i}` })))
      await records.write([{ key: 'plan', value: undefined }])
      if (under.reopen === undefined) return
      const again = await under.reopen()
      const reader = new RecordingListener()
      await again.start(reader)
      assert.deepEqual([...reader.records].sort(), [...listener.records].sort())
      assert.equal(reader.tellings, 1)
      assert.equal(reader.records.has('plan'), false)
      await assert.rejects(
        again.write([{ key: '*', value: '9', expected: { value: undefined } }]),
        hasCode('MIDGE_RECORD_CONFLICT'),
      )
      await again.write([{ key: '*', value: '9', expected: { value: '3' } }])
      assert.equal(reader.records.get('*'), '9')
    },
  ],
  [
    'tells the changes of one record in the order of the writes',
    async start => {
      const { records, listener } = await start()
      const values = Array.from({ length: 50 }, (_, i) => String(i))
      await Promise.all(values.map(value => records.write([{ key: 'a', value }])))
      const told = listener.lines.map(line => Number(line.slice('a='.length)))
      assert.deepEqual(
        told,
        told.toSorted((one, other) => one - other),
      )
      assert.equal(told.at(-1), 49)
    },
  ],
]

/** Runs the contract of the port {@link RecordStore} against the stores that `make` makes. */
export function recordStoreContract(name: string, make: MakeRecords): void {
  describe(`RecordStore (${name})`, () => {
    for (const [promise, check] of promises) {
      test(promise, async t => {
        const under = await make()
        t.after(() => under.dispose())
        const listener = new RecordingListener()
        await under.records.start(listener)
        assert.equal(listener.tellings, 1)
        await check(() => Promise.resolve({ records: under.records, listener, under }))
      })
    }
  })
}
