import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BrokerError } from '@midge/protocol-core'
import { RESTORING_KEY } from './control-tables.ts'
import { AUDIT_ENTRIES_MAX } from './record-writer.ts'
import { rulesOfTemplate } from './rule-templates.ts'
import type { Actor } from './tenancy.ts'
import { MemoryRecords } from './testing/memory-records.ts'
import { startPlane } from './testing/test-plane.ts'

const ACTOR: Actor = { kind: 'key', id: 'k1' }

async function codeOf(promise: Promise<unknown>): Promise<[code: string, text: string]> {
  const error = await promise.then(
    () => assert.fail('nothing was thrown'),
    (reason: BrokerError) => reason,
  )
  return [error.code, error.message]
}

async function withInstance(plan = 'unlimited') {
  const records = new MemoryRecords()
  const plane = await startPlane(records)
  await plane.instances.create({ id: 'home', name: 'Home', plan }, ACTOR)
  return { records, plane }
}

test('a new instance has a name, a number, a user that may do everything, and a key of its own', async () => {
  const plane = await startPlane(new MemoryRecords())
  const { instance, password, apiKey } = await plane.instances.create({ name: 'Home', plan: 'cat' }, ACTOR)
  assert.match(instance.id, /^[a-z]+-[a-z]+-\d\d$/)
  assert.equal(instance.number, 1)
  assert.equal(password.length, 20)
  assert.match(apiKey, /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  const owner = plane.users.find(instance.id, instance.defaultUser)
  assert.equal(owner?.isUnrestricted, true)
  assert.equal(owner?.proof?.hash, `hash of ${password}`)
  const key = plane.apiKeys.verify(apiKey, 0)
  assert.deepEqual([key?.scope, key?.instance], ['instance:write', instance.id])
  assert.equal(plane.apiKeys.verify(`${apiKey}x`, 0), undefined)
  assert.equal(plane.instances.findByNumber(1)?.id, instance.id)
  assert.equal(plane.instances.limits(instance.id).connections, 10)
})

test('two nodes that create at the same time take no number, port, id or host twice', async () => {
  const records = new MemoryRecords()
  const [a, b] = [await startPlane(records), await startPlane(records)]
  const made = await Promise.all(
    Array.from({ length: 12 }, (_, index) =>
      (index % 2 === 0 ? a : b).instances.create({ name: `n${index}`, plan: 'cat', withPorts: true }, ACTOR),
    ),
  )
  const numbers = made.map(({ instance }) => instance.number).sort((x, y) => x - y)
  assert.deepEqual(
    numbers,
    Array.from({ length: 12 }, (_, index) => index + 1),
  )
  assert.equal(new Set(made.map(({ instance }) => instance.portBase)).size, 12)
  const results = await Promise.allSettled(
    [a, b, a, b].map(plane =>
      plane.instances.create({ id: 'one', name: 'One', plan: 'cat', hosts: ['one.example'] }, ACTOR),
    ),
  )
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  const [code] = await codeOf(b.instances.create({ name: 'Two', plan: 'cat', hosts: ['one.example'] }, ACTOR))
  assert.equal(code, 'MIDGE_ALREADY_EXISTS')
})

test('a host and a port that an instance gives up are free for others, its id is not', async () => {
  const { plane } = await withInstance()
  await plane.instances.change('home', { hosts: ['a.example', 'b.example'] }, ACTOR)
  await plane.instances.change('home', { hosts: ['b.example'] }, ACTOR)
  assert.equal(plane.tables.findByHost('a.example'), undefined)
  assert.equal(plane.tables.findByHost('b.example'), 'home')
  await plane.instances.create({ id: 'next', name: 'Next', plan: 'cat', hosts: ['a.example'], withPorts: true }, ACTOR)
  await plane.instances.remove('next', ACTOR)
  assert.equal(plane.tables.findByHost('a.example'), undefined)
  const third = await plane.instances.create({ name: 'Third', plan: 'cat', withPorts: true }, ACTOR)
  assert.equal(third.instance.portBase, 10_000)
  // 10001 would take port 20001, which the node itself has.
  const fourth = await plane.instances.create({ name: 'Fourth', plan: 'cat', withPorts: true }, ACTOR)
  assert.equal(fourth.instance.portBase, 10_002)
  const [code, text] = await codeOf(plane.instances.create({ id: 'next', name: 'Next', plan: 'cat' }, ACTOR))
  assert.equal(code, 'MIDGE_ALREADY_EXISTS')
  assert.match(text, /used once/)
})

test('wrong fields are named, and a plan has to exist', async () => {
  const { plane } = await withInstance()
  const { instances, users, rules } = plane
  for (const [promise, expected] of [
    [instances.create({ id: 'Home', name: 'x', plan: 'cat' }, ACTOR), /lower-case/],
    [instances.create({ name: '', plan: 'cat' }, ACTOR), /^name: /],
    [instances.create({ name: 'x', plan: 'dog' }, ACTOR), /^plan: no such plan: dog/],
    [instances.change('home', { plan: 'dog' }, ACTOR), /^plan: /],
    [instances.remove('default', ACTOR), /default/],
    [users.create('home', 'a\0b', {}, ACTOR), /^username: /],
    [users.create('home', 'ann', { connectionsMax: 0 }, ACTOR), /^connectionsMax: /],
    [rules.create('home', [{ type: 'topic', pattern: 'a', read: true, write: true }], ACTOR), /^username: /],
    [rules.create('home', [{ type: 'pattern', pattern: 'a/#/b', read: true, write: true }], ACTOR), /^pattern: /],
  ] as const) {
    const [code, text] = await codeOf(promise)
    assert.equal(code, 'MIDGE_INVALID', text)
    assert.match(text, expected)
  }
  assert.equal((await codeOf(users.create('away', 'ann', {}, ACTOR)))[0], 'MIDGE_NOT_FOUND')
  assert.equal((await codeOf(users.change('home', 'ann', {}, ACTOR)))[0], 'MIDGE_NOT_FOUND')
})

test('of two nodes that create one user, one wins, and the other is told', async () => {
  const { records, plane } = await withInstance()
  const other = await startPlane(records)
  const results = await Promise.allSettled(
    [plane, other, plane, other].map(each => each.users.create('home', 'ann', { secret: { password: 'x' } }, ACTOR)),
  )
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const result of results) {
    if (result.status === 'rejected') assert.equal(result.reason.code, 'MIDGE_ALREADY_EXISTS')
  }
})

test('a plan of ten users holds ten, however many nodes add at the same time', async () => {
  const { records, plane } = await withInstance('cat')
  const nodes = [plane, await startPlane(records), await startPlane(records)]
  const results = await Promise.allSettled(
    Array.from({ length: 30 }, (_, index) => nodes[index % 3]?.users.create('home', `user${index}`, {}, ACTOR)),
  )
  assert.equal(plane.users.count('home'), 10)
  const refused = results.flatMap(result => (result.status === 'rejected' ? [result.reason] : []))
  assert.equal(refused.length, 21)
  for (const error of refused)
    assert.deepEqual([error.code, error.message], ['MIDGE_PLAN_LIMIT', 'plan cat: 10 of 10 users'])
  const many = Array.from({ length: 21 }, () => ({ type: 'pattern', pattern: 'a', read: true, write: true }) as const)
  assert.deepEqual(await codeOf(plane.rules.create('home', many, ACTOR)), [
    'MIDGE_PLAN_LIMIT',
    'plan cat: 0 of 20 rules',
  ])
  await plane.instances.change('home', { plan: 'hedgehog' }, ACTOR)
  await plane.users.create('home', 'one more', {}, ACTOR)
})

test('a changed password or a disabled user counts its epoch up, and nothing else does', async () => {
  const { plane } = await withInstance()
  const epochs = [await plane.users.create('home', 'ann', { secret: { password: 'x' }, note: 'old' }, ACTOR)]
  for (const input of [{ note: 'new' }, { secret: { password: 'y' } }, { isEnabled: false }, { isEnabled: true }]) {
    epochs.push(await plane.users.change('home', 'ann', input, ACTOR))
  }
  assert.deepEqual(
    epochs.map(({ epoch, createdAtMs }) => epoch - createdAtMs),
    [0, 0, 1, 2, 2],
  )
  assert.equal(plane.users.find('home', 'ann')?.proof?.hash, 'hash of y')
  assert.equal(plane.users.find('home', 'ann')?.note, 'new')
})

test('with a user go its own rules and those alone', async () => {
  const { plane } = await withInstance()
  for (const name of ['ann', 'bob']) await plane.users.create('home', name, {}, ACTOR)
  const own = (username: string, index: number) =>
    ({ type: 'topic', username, pattern: `x/${index}`, read: true, write: false }) as const
  for (let round = 0; round < 3; round++) {
    await plane.rules.create(
      'home',
      Array.from({ length: 400 }, (_, index) => own('ann', index)),
      ACTOR,
    )
  }
  await plane.rules.create('home', [own('bob', 1), ...(rulesOfTemplate('owntracks-family') ?? [])], ACTOR)
  assert.equal(plane.rules.list('home', { countMax: 2000 }, 'ann').items.length, 1200)
  await plane.users.remove('home', 'ann', ACTOR)
  assert.equal(plane.users.find('home', 'ann'), undefined)
  assert.deepEqual(plane.rules.list('home', { countMax: 2000 }, 'ann').items, [])
  assert.equal(plane.rules.count('home'), 5)
  const owner = plane.instances.find('home')?.defaultUser ?? ''
  assert.equal((await codeOf(plane.users.remove('home', owner, ACTOR)))[0], 'MIDGE_INVALID')
})

test('with an instance goes all that belongs to it, and nothing of one whose name begins alike', async () => {
  const { records, plane } = await withInstance()
  await plane.instances.create({ id: 'home-2', name: 'Other', plan: 'leopard' }, ACTOR)
  for (const id of ['home', 'home-2']) {
    for (let index = 0; index < 1100; index++) await plane.users.create(id, `u${index}`, {}, ACTOR)
    await plane.rules.create(id, rulesOfTemplate('device') ?? [], ACTOR)
    await plane.bans.create(id, { kind: 'address', value: '192.0.2.0/24', reason: '' }, ACTOR)
  }
  const seen: string[] = []
  plane.observe({ onInstance: (before, after) => seen.push(`${before?.id} ${after?.id}`) })
  await plane.instances.remove('home', ACTOR)
  assert.deepEqual(seen, ['home undefined'])
  const left = [...records.rows.keys()].filter(key => key.split('\0')[1] === 'home')
  assert.deepEqual(left, [])
  assert.deepEqual(plane.apiKeys.list({ countMax: 10 }, 'home').items, [])
  assert.equal(plane.users.count('home-2'), 1101)
  assert.equal(plane.rules.count('home-2'), 1)
})

test('a removal that a dead node left half done is ended by the next start', async () => {
  const { records, plane } = await withInstance()
  await plane.users.create('home', 'ann', {}, ACTOR)
  const left = [...records.rows].filter(([key]) => key.startsWith('user\0home\0'))
  await plane.instances.remove('home', ACTOR)
  for (const [key, value] of left) records.rows.set(key, value)
  const next = await startPlane(records)
  await next.instances.sweep()
  assert.deepEqual(
    [...records.rows.keys()].filter(key => key.startsWith('user\0')),
    [],
  )
})

test('telling everything again changes nothing but what was missed', async () => {
  const { records, plane } = await withInstance()
  await plane.users.create('home', 'ann', {}, ACTOR)
  await plane.users.create('home', 'bob', {}, ACTOR)
  const seen: string[] = []
  plane.observe({
    onInstance: () => seen.push('instance'),
    onPlan: () => seen.push('plan'),
    onUser: (_instance, before, after) => seen.push(`${before?.username} ${after?.username}`),
  })
  records.rows.delete('user\0home\0ann')
  records.reset()
  assert.deepEqual(seen, ['ann undefined'])
  assert.equal(plane.users.find('home', 'ann'), undefined)
  assert.notEqual(plane.users.find('home', 'bob'), undefined)
})

test('a store that has lost everything gets it back from the nodes, and nobody is cut off', async () => {
  const records = new MemoryRecords()
  const written: Promise<void>[] = []
  const planes = [
    await startPlane(records, { onLost: write => written.push(write()) }),
    await startPlane(records, { onLost: write => written.push(write()) }),
  ]
  const [plane] = planes
  await plane?.instances.create({ id: 'home', name: 'Home', plan: 'cat', hosts: ['h.example'], withPorts: true }, ACTOR)
  await plane?.rules.create('home', rulesOfTemplate('device') ?? [], ACTOR)
  const before = [...records.rows].sort()
  const seen: string[] = []
  for (const each of planes) {
    each.observe({
      onUser: () => seen.push('user'),
      onInstance: () => seen.push('instance'),
      onRule: () => seen.push('rule'),
    })
  }
  records.rows.clear()
  records.reset()
  await Promise.all(written)
  assert.deepEqual([...records.rows].sort(), before)
  assert.deepEqual(seen, [])
})

test('who hears of a loss when another node has written half of it again keeps all, and writes the rest', async () => {
  const records = new MemoryRecords()
  const written: Promise<void>[] = []
  const plane = await startPlane(records, { onLost: write => written.push(write()) })
  for (const id of ['one', 'two']) await plane.instances.create({ id, name: id, plan: 'cat' }, ACTOR)
  const before = [...records.rows].sort()
  const seen: string[] = []
  plane.observe({ onUser: () => seen.push('user'), onInstance: () => seen.push('instance') })
  for (const [key] of before.slice(3)) records.rows.delete(key)
  records.rows.set(RESTORING_KEY, 'true')
  records.reset()
  await Promise.all(written)
  assert.deepEqual(seen, [])
  assert.deepEqual([...records.rows].sort(), before)
})

test('a record of a newer version is read without what is new, and can still be changed', async () => {
  const { records, plane } = await withInstance()
  await plane.users.create('home', 'ann', { note: 'n' }, ACTOR)
  const key = 'user\0home\0ann'
  records.rows.set(key, (records.rows.get(key) ?? '').replace('{', '{"colour":"red",'))
  records.rows.set('moon\0home\0x', '{}')
  records.rows.set('ban\0home\0x', '{"kind":"planet"}')
  const unreadable: string[] = []
  const older = await startPlane(records, { onUnreadable: key => unreadable.push(key) })
  assert.deepEqual(unreadable.sort(), ['ban\0home\0x', 'moon\0home\0x'])
  assert.equal(older.users.find('home', 'ann')?.note, 'n')
  assert.equal((await older.users.change('home', 'ann', { note: 'm' }, ACTOR)).note, 'm')
})

test('pages come in the order of the ids, with a prefix and without, while others are added and removed', async () => {
  const { plane } = await withInstance()
  // No name that is made up for a first user begins like these.
  const names = Array.from({ length: 1300 }, (_, index) => `~u${String((index * 7919) % 1300).padStart(4, '0')}`)
  for (const name of names) await plane.users.create('home', name, {}, ACTOR)
  await plane.users.create('home', '~v', {}, ACTOR)
  const listed: string[] = []
  let cursor: string | undefined
  do {
    const page = plane.users.list('home', { countMax: 100, ...(cursor === undefined ? {} : { after: cursor }) }, '~u')
    listed.push(...page.items.map(({ username }) => username))
    cursor = page.cursor
    if (listed.length === 500) await plane.users.remove('home', '~u0499', ACTOR)
  } while (cursor !== undefined)
  assert.deepEqual(listed, names.sort())
  assert.equal(plane.users.list('home', { countMax: 10 }, '~w').items.length, 0)
})

test('every change is in the audit trail, newest first, and the trail is bounded', async () => {
  const { plane } = await withInstance()
  await plane.users.create('home', 'ann', { secret: { password: 'hunter2' } }, ACTOR)
  await plane.plans.put({ ...(plane.plans.find('cat') ?? assert.fail()), title: 'Cat' }, ACTOR)
  const { items } = plane.audit({ countMax: 10 })
  assert.deepEqual(
    items.map(({ action }) => action),
    ['plan.changed', 'user.created', 'instance.created'],
  )
  assert.deepEqual(items[1]?.actor, ACTOR)
  assert.ok(!JSON.stringify(items).includes('hunter2'))
  assert.equal(plane.audit({ countMax: 10 }, 'home').items.length, 2)
  const first = plane.audit({ countMax: 1 })
  assert.equal(
    plane.audit({ countMax: 1, ...(first.cursor === undefined ? {} : { after: first.cursor }) }).items.length,
    1,
  )
  for (let index = 0; index < AUDIT_ENTRIES_MAX; index++) await plane.users.change('home', 'ann', {}, ACTOR)
  assert.ok(plane.tables.audit.size <= AUDIT_ENTRIES_MAX + 1)
})

test('a built-in plan can be replaced and comes back; a plan that is in use stays', async () => {
  const { plane } = await withInstance()
  const cat = plane.plans.find('cat') ?? assert.fail()
  await plane.plans.put({ ...cat, limits: { ...cat.limits, users: 1 } }, ACTOR)
  await plane.instances.change('home', { plan: 'cat' }, ACTOR)
  assert.equal(plane.instances.limits('home').users, 1)
  await plane.plans.remove('cat', ACTOR)
  assert.equal(plane.instances.limits('home').users, 10)
  await plane.plans.put({ ...cat, id: 'mine' }, ACTOR)
  await plane.instances.change('home', { plan: 'mine' }, ACTOR)
  assert.equal((await codeOf(plane.plans.remove('mine', ACTOR)))[0], 'MIDGE_INVALID')
  await plane.instances.change('home', { plan: 'cat' }, ACTOR)
  await plane.plans.remove('mine', ACTOR)
  assert.equal(plane.plans.find('mine'), undefined)
})

test('a key that has run out, or was removed, opens nothing', async () => {
  const { plane } = await withInstance()
  const { apiKey, key } = await plane.apiKeys.create({ label: 'ci', scope: 'operator', expiresAtMs: 1000 }, ACTOR)
  assert.match(key, /^midge_operator_/)
  assert.equal(plane.apiKeys.verify(key, 999)?.id, apiKey.id)
  assert.equal(plane.apiKeys.verify(key, 1000), undefined)
  await plane.apiKeys.remove(apiKey.id, ACTOR)
  assert.equal(plane.apiKeys.verify(key, 0), undefined)
})

test('a ban names an address or a range, and goes when it is over', async () => {
  const { plane } = await withInstance()
  for (const value of ['300.1.1.1', '192.0.2.0/33', 'fe80::/129', 'x', '1.2.3.4/', '1.2.3.4/8/8']) {
    const [code] = await codeOf(plane.bans.create('home', { kind: 'address', value, reason: '' }, ACTOR))
    assert.equal(code, 'MIDGE_INVALID', value)
  }
  await plane.bans.create('home', { kind: 'address', value: '2001:db8::/32', reason: '', untilMs: 1 }, ACTOR)
  const { id } = await plane.bans.create('home', { kind: 'username', value: 'ann', reason: '' }, ACTOR)
  assert.deepEqual(
    plane.bans.list('home', { countMax: 9 }).items.map(row => row.id),
    [id],
  )
  await plane.bans.remove('home', id, ACTOR)
  assert.equal((await codeOf(plane.bans.remove('home', id, ACTOR)))[0], 'MIDGE_NOT_FOUND')
})

test('bridges are counted by the plan, webhooks as well, and putting one again replaces it', async () => {
  const { plane } = await withInstance('hedgehog')
  const webhook = (id: string) => ({
    id,
    name: 'Hook',
    isEnabled: true,
    url: 'https://example.com/hook',
    secret: 'x'.repeat(16),
    events: ['client.connected' as const],
    createdAtMs: 1,
  })
  for (const id of ['a', 'b', 'c']) await plane.webhooks.put('home', webhook(id), ACTOR)
  await plane.webhooks.put('home', { ...webhook('c'), name: 'New' }, ACTOR)
  assert.equal((await codeOf(plane.webhooks.put('home', webhook('d'), ACTOR)))[0], 'MIDGE_PLAN_LIMIT')
  assert.deepEqual(
    plane.webhooks.list('home').map(({ name }) => name),
    ['Hook', 'Hook', 'New'],
  )
  await plane.webhooks.remove('home', 'a', ACTOR)
  await plane.webhooks.put('home', webhook('d'), ACTOR)
})
