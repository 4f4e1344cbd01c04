import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { listFiles, read, root } from './sources.ts'

/** The YAML reader that the broker itself uses. */
const yaml = createRequire(new URL('packages/broker-node/package.json', root))('yaml') as {
  parse(text: string, options: { merge: boolean }): unknown
}

interface Service {
  build?: { context: string; dockerfile: string }
  environment?: Record<string, string>
  ports?: string[]
  volumes?: string[]
  profiles?: string[]
}

function services(): Record<string, Service> {
  const compose = yaml.parse(read('docker-compose.yml'), { merge: true }) as { services: Record<string, Service> }
  return compose.services
}

test('every YAML file of the repository can be read', () => {
  const files = listFiles('').filter(path => /\.ya?ml$/.test(path))
  assert.ok(files.length >= 3)
  for (const path of files) {
    assert.equal(typeof yaml.parse(read(path), { merge: true }), 'object', path)
  }
})

test('the nodes of docker-compose.yml share Redis and the first password, and have ids of their own', () => {
  const nodes = Object.entries(services()).filter(([name]) => name.startsWith('node-'))
  assert.equal(nodes.length, 3)
  for (const [name, { environment }] of nodes) {
    assert.equal(environment?.['MIDGE_NODE_ID'], name)
    assert.equal(environment?.['MIDGE_REDIS_URL'], 'redis://redis:6379')
    // A password written down here would be everybody's.
    assert.match(environment?.['MIDGE_BOOTSTRAP_PASSWORD'] ?? '', /^\$\{MIDGE_BOOTSTRAP_PASSWORD:\?/)
    assert.equal(environment?.['MIDGE_LISTENERS_TCP_PROXY_PROTOCOL'], 'true')
  }
})

test('what docker-compose.yml mounts and builds is there, and only MQTT is open to others', () => {
  const all = Object.values(services())
  const known = listFiles('')
  const mounted = all.flatMap(({ volumes = [] }) => volumes.filter(volume => volume.startsWith('./')))
  assert.ok(mounted.length >= 3)
  for (const volume of mounted) assert.ok(known.includes(volume.slice(2).split(':')[0] ?? ''), volume)
  for (const { build } of all) if (build !== undefined) assert.ok(known.includes(build.dockerfile))
  const open = all.flatMap(({ ports = [] }) => ports).filter(port => !port.startsWith('127.0.0.1:'))
  assert.deepEqual(open, ['1883:1883'])
})

test('load balancer and Prometheus name the nodes of docker-compose.yml', () => {
  const nodes = Object.keys(services()).filter(name => name.startsWith('node-'))
  const balanced = [...read('deploy/haproxy/haproxy.cfg').matchAll(/^ {2}server (\S+) \1:1883$/gm)].map(
    match => match[1],
  )
  assert.deepEqual(balanced, nodes)
  const scraped = [...read('deploy/prometheus/prometheus.yml').matchAll(/'(node-\d+):18083'/g)].map(match => match[1])
  assert.deepEqual(scraped, nodes)
})

const haproxy = ['haproxy', '/usr/sbin/haproxy'].find(command => spawnSync(command, ['-v']).status === 0)

test('HAProxy accepts its configuration', { skip: haproxy === undefined ? 'HAProxy is not installed' : false }, t => {
  const folder = mkdtempSync(join(tmpdir(), 'midge-haproxy-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'haproxy.cfg')
  // Names that only the container network knows.
  const text = read('deploy/haproxy/haproxy.cfg')
    .replace(/(server \S+) \S+:1883/g, '$1 127.0.0.1:1883')
    .replace('parse-resolv-conf', 'nameserver local 127.0.0.1:53')
  writeFileSync(file, text)
  const result = spawnSync(haproxy ?? '', ['-c', '-f', file], { encoding: 'utf8' })
  assert.equal(result.status, 0, result.stderr)
})

test('image and service run what the package calls midge, and not as root', () => {
  const { bin } = JSON.parse(read('packages/broker-node/package.json')) as { bin: { midge: string } }
  const program = `packages/broker-node/${bin.midge}`
  assert.ok(listFiles('packages').includes(program), fileURLToPath(new URL(program, root)))
  const dockerfile = read('deploy/Dockerfile')
  assert.ok(dockerfile.includes(`ENTRYPOINT ["node", "${program}"]`))
  assert.match(dockerfile, /^USER node$/m)
  assert.match(dockerfile, /\/livez/)
  const service = read('deploy/systemd/midge.service')
  assert.ok(service.includes(`/opt/midge/${program} start`))
  assert.match(service, /^User=midge$/m)
  assert.match(service, /^RestartPreventExitStatus=2$/m)
})
