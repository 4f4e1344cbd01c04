import assert from 'node:assert/strict'
import { after, it } from 'node:test'
import { freePort } from '../support/broker-under-test.ts'
import { MidgeNode, PASSWORD, USER } from '../support/midge-node.ts'
import { killLeftovers, TestProcess } from '../support/test-process.ts'

after(killLeftovers)

const BIN = 'packages/broker-node/bin/midge.js'

async function midge(
  args: string[],
  env: Record<string, string>,
): Promise<{ code: number | null; out: string; err: string }> {
  const command = new TestProcess(args.join(' '), process.execPath, [BIN, ...args], { env })
  const { code } = await command.end()
  return { code, out: command.stdout, err: command.stderr }
}

it('midge pub and midge sub reach the local node without a flag, and say why a broker refuses', async () => {
  const node = await MidgeNode.start({ env: { MIDGE_AUTH_ANONYMOUS: 'false' } })
  const port = String(node.ports.tcp)
  const local = {
    MIDGE_LISTENERS_TCP_PORT: port,
    MIDGE_BOOTSTRAP_USER: USER,
    MIDGE_BOOTSTRAP_PASSWORD: PASSWORD,
  }
  assert.deepEqual(await midge(['pub', 'a/b', '21.5', '--qos', '1', '--retain', '--property', 'k=v'], local), {
    code: 0,
    out: '',
    err: '',
  })
  const once = ['--count', '1', '--timeout', '20']
  assert.equal((await midge(['sub', 'a/#', ...once], local)).out, 'a/b 21.5\n')
  const { out } = await midge(['sub', 'a/#', ...once, '--json'], local)
  assert.deepEqual(JSON.parse(out), {
    topic: 'a/b',
    payload: '21.5',
    qos: 0,
    retain: true,
    properties: { userProperties: { k: 'v' } },
  })
  for (const version of ['3', '4']) {
    assert.equal((await midge(['sub', 'a/#', ...once, '--payload-only', '--mqtt', version], local)).out, '21.5\n')
  }
  assert.equal((await midge(['sub', 'nothing', '--count', '1', '--timeout', '1'], local)).code, 5)

  const wrong = await midge(['pub', 'a', 'b', '--url', `mqtt://${USER}:secret-word@127.0.0.1:${port}`], {})
  assert.equal(wrong.code, 4)
  assert.match(wrong.err, /refused the connection .*: check --user and the password\n$/)
  assert.doesNotMatch(wrong.err, /secret-word/)
  const nobody = await midge(['pub', 'a', 'b', '--host', '127.0.0.1', '--port', String(await freePort())], {})
  assert.equal(nobody.code, 3)
  assert.match(nobody.err, /^midge: no connection to mqtt:[^\n]+is the broker running[^\n]+\n$/)
  const twice = await midge(['pub', 'a', 'b', '--empty'], {})
  assert.equal(twice.code, 2)
  assert.match(twice.err, /say the message once/)
})
