import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { freePort } from '../support/broker-under-test.ts'
import { connectClient } from '../support/clients.ts'
import { MidgeNode, watchNodes } from '../support/midge-node.ts'
import { startMosquitto } from '../support/mosquitto-process.ts'
import { topicsPassing } from '../support/passing-topics.ts'
import { TestProcess } from '../support/test-process.ts'

const API_KEY = 'midge_operator_key-of-the-import'
const PLUGIN = '/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so'
const TOPICS = ['home/a', 'home/secret', 'home/open', 'weather/x', 'other/y', 'group/1', 'group/off']
const USERS = ['ann', 'ben']

/** What is said to the plug-in, one command a line; a denial below a permission, a role above another, a group. */
const COMMANDS = `createRole all
addRoleACL all publishClientSend # allow
addRoleACL all subscribePattern # allow
createRole home
addRoleACL home publishClientSend home/# allow 1
addRoleACL home publishClientSend home/secret deny 5
addRoleACL home subscribePattern # allow
addRoleACL home publishClientReceive home/open deny
createRole guest
addRoleACL guest publishClientSend home/secret allow 9
addRoleACL guest publishClientSend weather/+ allow
addRoleACL guest publishClientReceive weather/# deny
createRole team
addRoleACL team publishClientSend group/# allow
addRoleACL team publishClientSend group/off deny 1
createGroup people
addGroupRole people team
createClient watch -p w
addClientRole watch all
createClient ann -p a
addClientRole ann home 9
addClientRole ann guest 1
addGroupClient people ann
createClient ben -p b
addClientRole ben guest 9
addClientRole ben home 1
createClient off -p o
disableClient off`

let folder: string
let port: number
let mosquitto: TestProcess
let node: MidgeNode
watchNodes(() => [node])

async function run(command: string, ...args: string[]): Promise<string> {
  const program = new TestProcess(command, command, args)
  const { code } = await program.end()
  assert.equal(code, 0, `${command} ${args.join(' ')}: ${program.tail()}`)
  return program.stdout
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'midge-e2e-dynsec-'))
  port = await freePort()
  const file = join(folder, 'dynamic-security.json')
  await run('mosquitto_ctrl', 'dynsec', 'init', file, 'admin', 'pw')
  const plugin = [`plugin ${PLUGIN}`, `plugin_opt_config_file ${file}`]
  await writeFile(join(folder, 'mosquitto.conf'), [`listener ${port} 127.0.0.1`, 'user root', ...plugin, ''].join('\n'))
  await writeFile(join(folder, 'key'), API_KEY)
  mosquitto = await startMosquitto(join(folder, 'mosquitto.conf'))
  const admin = ['-h', '127.0.0.1', '-p', String(port), '-u', 'admin', '-P', 'pw', 'dynsec']
  for (const line of COMMANDS.split('\n')) await run('mosquitto_ctrl', ...admin, ...line.split(' '))
  node = await MidgeNode.start({ env: { MIDGE_BOOTSTRAP_API_KEY: API_KEY } })
})
after(async () => {
  await mosquitto?.kill9()
  await node?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Topics of which a message of one user reaches the other. */
async function passed(at: number, from: string, to: string): Promise<string[]> {
  const as = (username: string) => connectClient({ port: at, username, password: username.charAt(0) })
  return topicsPassing(await as(from), await as(to), TOPICS)
}

test('users, roles and groups of the dynamic security plug-in move, and allow what they allowed', async () => {
  const where = ['--url', `http://127.0.0.1:${node.ports.http}`, '--key-file', join(folder, 'key')]
  const midge = ['packages/broker-node/bin/midge.js', 'import', 'mosquitto', join(folder, 'mosquitto.conf'), ...where]
  const out = await run(process.execPath, ...midge)
  assert.match(out, /^users {5}5 created, 0 changed, 0 there already, 0 failed\nrules {5}\d+ created/)
  assert.match(out, /differs {3}\S+dynamic-security\.json: one rule decides on SUBSCRIBE and on what is received/)
  assert.match(
    await run(process.execPath, ...midge),
    /^users {5}0 created, [^\n]+\nrules {5}0 created, 0 changed, \d\d there/,
  )
  for (const name of USERS) {
    for (const [from, to] of [
      [name, 'watch'],
      ['watch', name],
    ] as const) {
      const expected = await passed(port, from, to)
      assert.ok(expected.length > 1 && expected.length < TOPICS.length, `${from} to ${to}: ${expected.join(' ')}`)
      assert.deepEqual(await passed(node.port, from, to), expected, `${from} to ${to}`)
    }
  }
  for (const at of [port, node.port]) {
    await assert.rejects(connectClient({ port: at, username: 'off', password: 'o' }), /refused|Not authorized/i)
  }
})
