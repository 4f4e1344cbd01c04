import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { MidgeNode } from '../support/midge-node.ts'

const MIDGE = fileURLToPath(new URL('../../../packages/broker-node/bin/midge.js', import.meta.url))
const KEY = 'midge_test_key_of_the_operator'
const QUESTION = 'Password: '

let node: MidgeNode
let folder: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'midge-cli-'))
  node = await MidgeNode.start({ env: { MIDGE_BOOTSTRAP_API_KEY: KEY } })
})
after(async () => {
  await node.stop()
  await rm(folder, { recursive: true })
})

interface Outcome {
  code: number
  out: string
  err: string
}

/** Runs `midge` in a process of its own, as a person would; `input` is its standard input. */
async function midge(
  words: string[],
  { input = '', env = {} }: { input?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Outcome> {
  const url = `http://127.0.0.1:${node.ports.http}`
  const child = spawn(process.execPath, [MIDGE, ...words], {
    cwd: folder,
    env: { ...process.env, MIDGE_API_URL: url, MIDGE_API_KEY: KEY, ...env },
  })
  const texts = { out: '', err: '' }
  child.stdout.on('data', chunk => {
    texts.out += chunk
  })
  child.stderr.on('data', chunk => {
    texts.err += chunk
  })
  child.stdin.end(input)
  const [code] = await once(child, 'close')
  return { code, ...texts }
}

const done = async (words: string[], input?: string): Promise<string> => {
  const { code, out, err } = await midge(words, input === undefined ? {} : { input })
  assert.equal(code, 0, err)
  return out
}

test('a second user with a rule is made, seen, asked about and removed again', async () => {
  await done(['user', 'add', 'anna', '--password-stdin'], 'secret\n')
  assert.match(await done(['user', 'list']), /^USERNAME .*\nanna +no +yes/)
  const [rule] = JSON.parse(await done(['acl', 'add', 'home/%u/#', '--user', 'anna', '--read', '--json']))
  assert.equal(rule.pattern, 'home/%u/#')
  assert.match(await done(['acl', 'list', '--user', 'anna']), /anna +home\/%u\/# +yes +no +allow/)
  assert.match(await done(['acl', 'check', 'home/anna/x', '--user', 'anna', '--access', 'receive']), /^allowed +yes/)
  assert.match(await done(['acl', 'check', 'home/anna/x', '--user', 'anna']), /^allowed +no/)
  assert.equal(await done(['acl', 'remove', rule.id]), 'done\n')
  assert.equal(await done(['acl', 'list']), 'none\n')
  const password = join(folder, 'password')
  await writeFile(password, 'another secret\n')
  await done(['user', 'passwd', 'anna', '--password-file', password])
  await done(['user', 'remove', 'anna'])
  const gone = await midge(['user', 'show', 'anna'])
  assert.deepEqual([gone.code, gone.out], [1, ''])
  assert.match(gone.err, /^midge: no such user/)
})

test('an instance is made, listed and, when somebody says so, deleted', async () => {
  const made = JSON.parse(await done(['instance', 'create', 'friends', '--plan', 'cat', '--json']))
  assert.equal(made.instance.limits.connections, 10)
  assert.ok(made.password !== '' && made.apiKey !== '')
  assert.match(await done(['instance', 'list']), /\nfriends +friends +cat +active/)
  // The key of an instance opens that instance.
  const own = await midge(['user', 'list', '-i', 'friends'], { env: { MIDGE_API_KEY: made.apiKey } })
  assert.match(own.out, new RegExp(`^USERNAME[^\\n]*\\n${made.username} `))
  const foreign = await midge(['user', 'list'], { env: { MIDGE_API_KEY: made.apiKey } })
  assert.equal(foreign.code, 1)
  const unasked = await midge(['instance', 'delete', 'friends'])
  assert.equal(unasked.code, 1)
  assert.match(unasked.err, /--yes/)
  await done(['instance', 'delete', 'friends', '--yes'])
  assert.doesNotMatch(await done(['instance', 'list']), /friends/)
})

test('lists longer than a page are whole', async () => {
  for (let i = 0; i < 120; i += 40) {
    await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        fetch(`http://127.0.0.1:${node.ports.http}/api/v1/instances/default/rules`, {
          method: 'POST',
          headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
          body: JSON.stringify({ type: 'pattern', pattern: `many/${i + n}`, read: true }),
        }).then(answer => assert.ok(answer.ok)),
      ),
    )
  }
  assert.equal(JSON.parse(await done(['acl', 'list', '--json'])).length, 120)
})

/** The same with a terminal in front of it, on which this is pasted when the password is asked for. */
async function typed(words: string[], keys: string): Promise<Outcome> {
  const command = [process.execPath, MIDGE, ...words].join(' ')
  const url = `http://127.0.0.1:${node.ports.http}`
  const env = { ...process.env, MIDGE_API_URL: url, MIDGE_API_KEY: KEY }
  const child = spawn('script', ['-qec', command, '/dev/null'], { cwd: folder, env })
  let out = ''
  child.stdout.on('data', chunk => {
    const wasAsked = out.includes(QUESTION)
    out += chunk
    if (!wasAsked && out.includes(QUESTION)) child.stdin.write(keys)
  })
  const [code] = await once(child, 'close', { signal: AbortSignal.timeout(20_000) })
  return { code, out, err: '' }
}

test('a password is asked for on the terminal, twice, and not shown', async () => {
  const same = await typed(['user', 'add', 'typed'], 'same word\rsame word\r')
  assert.equal(same.code, 0, same.out)
  assert.doesNotMatch(same.out, /same/)
  assert.match(await done(['user', 'list']), /\ntyped /)
  const differs = await typed(['user', 'add', 'differs'], 'one\rother\r')
  assert.equal(differs.code, 1)
  assert.match(differs.out, /the two passwords differ/)
  for (const key of ['\x03', '\x04']) {
    const nothing = await typed(['user', 'add', 'nobody'], key)
    assert.equal(nothing.code, 1)
    assert.match(nothing.out, /no answer was given/)
  }
  await done(['user', 'remove', 'typed'])
})

test('what cannot be done says what to do', async () => {
  const noKey = await midge(['user', 'list'], { env: { MIDGE_API_KEY: undefined } })
  assert.deepEqual([noKey.code, noKey.out], [1, ''])
  assert.match(noKey.err, /MIDGE_API_KEY/)
  const wrongKey = await midge(['user', 'list'], { env: { MIDGE_API_KEY: 'wrong' } })
  assert.match(wrongKey.err, /API key is not known/)
  const nobody = await midge(['user', 'list', '--api', 'http://127.0.0.1:1'])
  assert.match(nobody.err, /midge start/)
  const noPassword = await midge(['user', 'add', 'bert'])
  assert.match(noPassword.err, /--password-stdin/)
  const noAccess = await midge(['acl', 'add', 'a/#'])
  assert.match(noAccess.err, /--read/)
  const noVerb = await midge(['user', 'frobnicate'])
  assert.equal(noVerb.code, 2)
})
