import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { slotOf } from '../redis/slot.ts'
import { PARTITION_COUNT, PARTITION_TAGS, partitionOf } from './hash-tag.ts'
import { namesOf, StoreKeys } from './store-keys.ts'
import { SCRIPT_NAMES, storeScripts } from './store-scripts.ts'

const source = new URL('../../src/store-redis/', import.meta.url)
const repository = new URL('../../../../', import.meta.url)

describe('scripts', () => {
  it('are the files of the folder, each with a header and the count of its KEYS in its name', () => {
    const files = readdirSync(fileURLToPath(new URL('scripts/', source))).filter(name => name.endsWith('.lua'))
    assert.deepEqual(files.map(name => name.replace('.lua', '')).sort(), [...SCRIPT_NAMES].sort())
    for (const [name, script] of storeScripts()) {
      assert.match(script.source, /^-- KEYS {2}/m, name)
      assert.match(script.source, /^-- Returns /m, name)
      if (name !== 'delete-group-n') assert.match(script.source, /^-- ARGV {2}/m, name)
      assert.doesNotMatch(script.source, /^-- @include/m, name)
      const used = [...script.source.matchAll(/KEYS\[(\d+)\]/g)].map(match => Number(match[1]))
      if (script.keyCount >= 0) assert.equal(Math.max(...used), script.keyCount, name)
      if (script.source.includes("error_reply('FENCED")) assert.match(script.source, /^-- Errors {2}FENCED/m, name)
    }
  })
})

describe('hash tags', () => {
  it('agree with the slots of Redis Cluster and spread evenly', () => {
    assert.equal(slotOf('123456789'), 0x31c3)
    const stripe = 16_384 / PARTITION_COUNT
    PARTITION_TAGS.forEach((tag, partition) => {
      assert.equal(Math.floor(slotOf(tag) / stripe), partition)
    })
  })

  it('spread client ids that differ in their last characters', () => {
    const counts = new Array<number>(PARTITION_COUNT).fill(0)
    for (let i = 0; i < 64_000; i++) {
      const partition = partitionOf('default', `device-${i}`)
      counts[partition] = (counts[partition] ?? 0) + 1
    }
    assert.ok(Math.min(...counts) > 800 && Math.max(...counts) < 1200, counts.join(' '))
  })
})

describe('keys', () => {
  it('keep a client id from moving the slot or ending its part of the key', () => {
    const keys = new StoreKeys('midge')
    for (const clientId of ['a}b{c', 'a:b', 'a|b', 'a b\n', 'ä€😀', '', '__proto__']) {
      const place = keys.place('tenant:}{', clientId)
      assert.deepEqual(namesOf(place.id), { instance: 'tenant:}{', name: clientId })
      for (const key of Object.values(keys.session(place))) {
        assert.match(key, /^midge:\w+:\{p[\d.]+\}:[^{}| \n]*$/)
        assert.equal(key.slice(key.indexOf('{') + 1, key.indexOf('}')), PARTITION_TAGS[place.partition])
      }
    }
    assert.throws(() => new StoreKeys('a{b'))
  })

  it('are all in docs/redis-keys.md, with every script, and nothing else is', () => {
    const code = readFileSync(fileURLToPath(new URL('store-keys.ts', source)), 'utf8')
    const document = readFileSync(fileURLToPath(new URL('docs/redis-keys.md', repository)), 'utf8')
    const store = document.slice(document.indexOf('## Store'), document.indexOf('<!-- end of the store -->'))
    const built = new Set([...code.matchAll(/\$\{this\.prefix\}:(\w+):/g)].map(match => match[1]))
    const described = new Set([...store.matchAll(/^(?:\| )?`midge:(\w+):/gm)].map(match => match[1]))
    assert.deepEqual([...described].sort(), [...built].sort())
    for (const name of SCRIPT_NAMES) assert.ok(store.includes(`\`${name}\``), `${name} is not described`)
  })
})
