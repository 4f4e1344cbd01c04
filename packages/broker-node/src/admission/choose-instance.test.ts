import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConnectionInfo } from '../ports.ts'
import { chooseInstance } from './choose-instance.ts'
import { claimOf, instancesOf } from './testing/claims.ts'

const finder = instancesOf({
  default: {},
  a: { hosts: ['a.example'] },
  'a-b': { hosts: ['a-b.example'] },
})

/** `instance/username` that is chosen. */
function chosen(info: Partial<ConnectionInfo>, username: string | undefined): string {
  const { instance, username: inside } = chooseInstance(finder, { ...claimOf({}).info, ...info }, username)
  return `${instance}/${inside}`
}

for (const [what, info, username, expected] of [
  ['nothing', {}, undefined, 'default/undefined'],
  ['a name', {}, 'ann', 'default/ann'],
  ['an instance before the name', {}, 'a:ann', 'a/ann'],
  ['an instance whose name begins like another', {}, 'a-b:ann', 'a-b/ann'],
  ['a name with a colon of its own', {}, 'a:ann:x', 'a/ann:x'],
  ['no instance before the colon', {}, 'c:ann', 'default/c:ann'],
  ['an instance in capitals, which is none', {}, 'A:ann', 'default/A:ann'],
  ['nothing before the colon', {}, ':ann', 'default/:ann'],
  ['nothing after it', {}, 'a:', 'a/'],
  ['a server name', { serverName: 'a.example' }, 'ann', 'a/ann'],
  ['a host', { host: 'a-b.example' }, 'ann', 'a-b/ann'],
  ['a server name of nobody', { serverName: 'c.example' }, 'a:ann', 'a/ann'],
  ['a server name before a host', { serverName: 'a.example', host: 'a-b.example' }, 'ann', 'a/ann'],
  ['a server name, and another instance in the name', { serverName: 'a.example' }, 'a-b:ann', 'a/a-b:ann'],
  ['a port', { boundInstance: 'a' }, 'ann', 'a/ann'],
  ['a port before everything else', { boundInstance: 'a', serverName: 'a-b.example' }, 'a-b:ann', 'a/a-b:ann'],
  ['a port of an instance that is gone', { boundInstance: 'gone' }, 'a:ann', 'gone/a:ann'],
] as const) {
  test(`${what} (${username}) leads to ${expected}`, () => {
    assert.equal(chosen(info, username), expected)
  })
}
