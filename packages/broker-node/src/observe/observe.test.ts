import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { test } from 'node:test'
import { sampleEventLoopLag } from './event-loop-lag.ts'
import { createLogger, type LogSettings, type RootLogger } from './logger.ts'
import { prettyLine } from './pretty.ts'
import { RepeatLimit } from './repeat-limit.ts'

function capture(settings: Partial<LogSettings> = {}): { log: RootLogger; lines: string[] } {
  const lines: string[] = []
  const write = (line: string): void => {
    lines.push(line)
  }
  const log = createLogger({ level: 'info', format: 'json', nodeId: 'n1', version: '1.2.3', write, ...settings })
  return { log, lines }
}

function only(lines: string[]): Record<string, unknown> {
  assert.equal(lines.length, 1)
  return JSON.parse(lines[0] ?? '') as Record<string, unknown>
}

test('a line is one JSON object with level, ISO time, node, event and text', () => {
  const { log, lines } = capture()
  log.info({ event: 'node.ready', port: 1883 }, 'ready')
  const { time, ...rest } = only(lines)
  assert.deepEqual(rest, {
    level: 'info',
    nodeId: 'n1',
    version: '1.2.3',
    event: 'node.ready',
    port: 1883,
    msg: 'ready',
  })
  assert.equal(new Date(String(time)).toISOString(), time)
})

test('long texts are cut at 128 characters, in a line and in what a child carries', () => {
  const { log, lines } = capture()
  const long = 'x'.repeat(1000)
  log.child({ clientId: long }).warn({ event: 'client.odd', topicName: long }, 'odd')
  const line = only(lines)
  assert.equal(line['clientId'], `${'x'.repeat(128)}…`)
  assert.equal(line['topicName'], `${'x'.repeat(128)}…`)
})

test('credentials and payloads are hidden even when someone logs them', () => {
  const { log, lines } = capture()
  log.error({ event: 'x', password: 'hunter2', connect: { password: 'hunter2', payload: 'hunter2' } }, 'x')
  assert.doesNotMatch(lines[0] ?? '', /hunter2/)
})

test('lines below the level are not written, and isLevelEnabled() says so', () => {
  const { log, lines } = capture({ level: 'warn' })
  log.info({ event: 'x' }, 'x')
  log.debug({ event: 'x' }, 'x')
  assert.deepEqual(lines, [])
  assert.equal(log.isLevelEnabled('info'), false)
  assert.equal(log.isLevelEnabled('error'), true)
})

test('an error keeps its code', () => {
  const { log, lines } = capture()
  log.error({ event: 'store.failed', err: Object.assign(new Error('no'), { code: 'MIDGE_STORE_UNAVAILABLE' }) }, 'no')
  assert.equal((only(lines)['err'] as { code: string }).code, 'MIDGE_STORE_UNAVAILABLE')
})

test('a storm of one event is cut and its size reported, other events pass', async () => {
  const lines: string[] = []
  const told = new EventEmitter()
  const write = (line: string): void => {
    lines.push(line)
    const record = JSON.parse(line) as Record<string, unknown>
    if (record['event'] === 'log.suppressed') told.emit('report', record)
  }
  const { log } = capture({ write })
  const report = once(told, 'report')
  for (let i = 0; i < 5000; i++) log.info({ event: 'client.connected' }, 'connected')
  log.info({ event: 'node.ready' }, 'ready')
  // The report's timer holds no process open, so the test does.
  const hold = setTimeout(() => told.emit('error', new Error('no report of suppressed lines')), 10_000)
  const [record] = (await report) as [Record<string, unknown>]
  clearTimeout(hold)
  const connected = lines.filter(line => line.includes('client.connected') && !line.includes('log.suppressed')).length
  assert.equal(record['suppressedEvent'], 'client.connected')
  assert.equal(Number(record['suppressedCount']) + connected, 5000)
  assert(connected < 1000)
  assert(lines.some(line => line.includes('node.ready')))
})

test('RepeatLimit opens again with the next window', () => {
  const limit = new RepeatLimit(2, 100)
  assert.deepEqual(
    [limit.allows('a', 0), limit.allows('a', 1), limit.allows('a', 2), limit.allows('b', 3), limit.allows('a', 100)],
    [true, true, false, true, true],
  )
  assert.deepEqual(limit.takeSuppressed(), [['a', 1]])
  assert.deepEqual(limit.takeSuppressed(), [])
})

test('the readable form is one line and survives what is not JSON', () => {
  const { log, lines } = capture({ format: 'pretty' })
  log.info({ event: 'client.connected', clientId: 'c1' }, 'client connected')
  assert.match(lines[0] ?? '', /^\d\d:\d\d:\d\d info {2}client connected clientId=c1\n$/)
  assert.equal(prettyLine('plain'), 'plain')
})

test('after close() every line is on standard output, in order, and later ones do no harm', () => {
  const script = `
    import { createLogger } from ${JSON.stringify(new URL('./logger.js', import.meta.url).href)}
    const log = createLogger({ level: 'info', format: 'json', nodeId: 'n1', version: '0' })
    for (let i = 0; i < 5000; i++) log.info({ event: 'e' + i }, 'x')
    await Promise.all([log.close(), log.close()])
    log.info({ event: 'late' }, 'x')
    process.exit(0)`
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  assert.equal(child.stderr, '')
  const events = [...child.stdout.matchAll(/"event":"(\w+)"/g)].map(match => match[1])
  assert.deepEqual(
    events,
    Array.from({ length: 5000 }, (_, i) => `e${i}`),
  )
})

test('a blocked event loop shows in the lag', async () => {
  const lag = sampleEventLoopLag()
  const turn = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 50))
  await turn()
  lag.takeMaxMs()
  const until = Date.now() + 200
  while (Date.now() < until);
  await turn()
  assert(lag.takeMaxMs() > 100)
  lag.stop()
})
