import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { pbkdf2Sync, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { hash } from '@node-rs/argon2'
import { hashOfMosca } from './imported-hash.ts'
import { hashPassword, isHeavyHash, verifyPassword } from './password-hash.ts'

async function fits(passwordHash: string, password: string): Promise<boolean> {
  const isRight = await verifyPassword(passwordHash, Buffer.from(password))
  assert.equal(await verifyPassword(passwordHash, Buffer.from(`${password}x`)), false)
  assert.equal(await verifyPassword(passwordHash, Buffer.from('')), password === '')
  return isRight
}

function mosquittoHash(password: string, ...args: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'midge-passwd-'))
  try {
    const file = join(folder, 'passwd')
    execFileSync('mosquitto_passwd', ['-c', '-b', ...args, file, 'anna', password], { stdio: 'ignore' })
    return readFileSync(file, 'utf8').trim().slice('anna:'.length)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Of the specification: what was asked for, the password, the hash. */
const VECTORS: readonly (readonly [string, string, string])[] = [
  [
    '$6$saltstring',
    'Hello world!',
    '$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1',
  ],
  [
    '$6$rounds=10000$saltstringsaltstring',
    'Hello world!',
    '$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.',
  ],
  [
    '$6$rounds=5000$toolongsaltstring',
    'This is just a test',
    '$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0',
  ],
  [
    '$6$rounds=1400$anotherlongsaltstring',
    'a very much longer text to encrypt.  This one even stretches over morethan one line.',
    '$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1',
  ],
  [
    '$6$rounds=77777$short',
    'we have a short salt string but not a short password',
    '$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0',
  ],
  [
    '$6$rounds=123456$asaltof16chars..',
    'a short string',
    '$6$rounds=123456$asaltof16chars..$BtCwjqMJGx5hrJhZywWvt0RLE8uZ4oPwcelCjmw2kSYu.Ec6ycULevoBK25fs2xXgMNrCzIMVcgEJAstJeonj1',
  ],
  [
    '$6$rounds=10$roundstoolow',
    'the minimum number is still observed',
    '$6$rounds=1000$roundstoolow$kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpBYYBaHHrsX.',
  ],
]

test('argon2id, as we make it and as others do', async () => {
  assert.ok(await fits(await hashPassword('secret'), 'secret'))
  assert.ok(await fits(await hash('secret', { memoryCost: 4096, timeCost: 3 }), 'secret'))
})

test('SHA-crypt: the examples of its specification', async () => {
  for (const [asked, password, expected] of VECTORS) {
    assert.ok(await fits(expected, password), asked)
    // As it is asked for: salts that are too long, and rounds that are too few.
    const hash = expected.slice(expected.lastIndexOf('$') + 1)
    if (asked.includes('toolow')) assert.ok(await fits(`${asked}$${hash}`, password), asked)
  }
})

test('SHA-crypt: what openssl makes, of passwords of any length', async () => {
  for (const password of ['a', 'secret', 'ünï', 'x'.repeat(63), 'x'.repeat(64), 'x'.repeat(65), 'x'.repeat(129)]) {
    const passwordHash = execFileSync('openssl', ['passwd', '-6', '-stdin'], { input: `${password}\n` })
    assert.ok(await fits(passwordHash.toString().trim(), password), password)
  }
})

test('both forms of mosquitto_passwd', async () => {
  const usual = mosquittoHash('secret')
  assert.match(usual, /^\$7\$/)
  assert.ok(await fits(usual, 'secret'))
  assert.ok(!isHeavyHash(usual))
  const many = mosquittoHash('secret', '-H', 'sha512-pbkdf2', '-I', '30000')
  assert.ok(await fits(many, 'secret'))
  assert.ok(isHeavyHash(many))
  const old = mosquittoHash('sécret', '-H', 'sha512')
  assert.match(old, /^\$6\$/)
  assert.ok(await fits(old, 'sécret'))
})

test('credentials of Mosca', async () => {
  const salt = randomBytes(64)
  const key = pbkdf2Sync('secret', salt, 10_000, 128, 'sha1')
  const passwordHash = hashOfMosca({ salt: salt.toString('base64'), hash: key.toString('base64') })
  assert.ok(passwordHash.length <= 1024)
  assert.ok(await fits(passwordHash, 'secret'))
})

test('what asks for too much work, and what is no hash, matches nothing and is known at once', async () => {
  const startMs = performance.now()
  for (const passwordHash of [
    '',
    'secret',
    '$6$',
    '$6$nonsense',
    '$7$101$$',
    '$7$0$AAAA$AAAA',
    `$7$999999999$AAAA$${'A'.repeat(88)}`,
    `$7$101$AAAA$${'A'.repeat(4000)}`,
    `$6$rounds=999999999$salt$${'A'.repeat(86)}`,
    '$argon2id$v=19$m=4000000,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
    '$argon2id$v=19$m=19456,t=4000,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
    '$argon2id$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
  ]) {
    assert.equal(await verifyPassword(passwordHash, Buffer.from('secret')), false, passwordHash)
  }
  const crypt = `$6$salt$${'A'.repeat(86)}`
  assert.equal(await verifyPassword(crypt, Buffer.alloc(65_535)), false)
  assert.ok(performance.now() - startMs < 500)
})

test('the event loop goes on while SHA-crypt works', async () => {
  const passwordHash = `$6$rounds=300000$salt$${'A'.repeat(86)}`
  await verifyPassword(`$6$salt$${'A'.repeat(86)}`, Buffer.from('warm'))
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  const startMs = performance.now()
  assert.equal(await verifyPassword(passwordHash, Buffer.from('secret')), false)
  clearInterval(timer)
  const tookMs = performance.now() - startMs
  assert.ok(turns > tookMs / 20, `${turns} turns in ${tookMs} ms`)
})
