import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Logger } from '../ports.ts'
import { ClientLog } from './client-log.ts'

/** Writes down what arrives. */
function loggerInto(lines: string[]): Logger {
  const write = (level: string) => (_fields: object, text: string) => void lines.push(`${level} ${text}`)
  const logger: Logger = {
    ...{
      trace: write('trace'),
      debug: write('debug'),
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
    },
    isLevelEnabled: () => false,
    child: () => logger,
  }
  return logger
}

function logOf(): { log: ClientLog; logger: Logger; lines: string[] } {
  const lines: string[] = []
  const log = new ClientLog(() => 1000)
  return { log, logger: log.watching(loggerInto(lines)), lines }
}

test('lines about clients of an instance are kept for it, and all lines go on', () => {
  const { log, logger, lines } = logOf()
  const fields = { event: 'client.connected', instance: 'a', clientId: 'c', username: 'ann', remote: '192.0.2.1' }
  logger.info(fields, 'client connected')
  logger.child({}).debug({ ...fields, event: 'client.disconnected', reason: 'timeout' }, 'client gone')
  logger.warn({ event: 'store.waiting', instance: 'a' }, 'waiting')
  logger.info({ event: 'client.connected' }, 'of nobody')
  assert.deepEqual(lines, ['info client connected', 'debug client gone', 'warn waiting', 'info of nobody'])
  assert.deepEqual(
    log
      .read('a', 0, 10)
      .map(({ event, clientId, username, address, text }) => [event, clientId, username, address, text]),
    [
      ['connected', 'c', 'ann', '192.0.2.1', 'client connected'],
      ['disconnected', 'c', 'ann', '192.0.2.1', 'client gone: timeout'],
    ],
  )
  assert.deepEqual(log.read('a-b', 0, 10), [])
})

test('a refusal that is told twice is kept once', () => {
  const { log, logger } = logOf()
  const refused = { event: 'client.refused', instance: 'a' }
  logger.info({ ...refused, connectionId: '1', reason: 'wrong password' }, 'refused')
  logger.info({ ...refused, connectionId: '1', reason: 'not authorized' }, 'refused')
  logger.info({ ...refused, connectionId: '2', reason: 'banned' }, 'refused')
  assert.deepEqual(
    log.read('a', 0, 10).map(({ text }) => text),
    ['refused: wrong password', 'refused: banned'],
  )
})

test('the newest entries are kept, and one goes on behind the last that is known', () => {
  const { log, logger } = logOf()
  for (let i = 0; i < 2500; i++) logger.info({ event: 'client.connected', instance: 'a' }, `${i}`)
  const newest = log.read('a', 0, 3)
  assert.deepEqual(
    newest.map(({ text }) => text),
    ['2497', '2498', '2499'],
  )
  assert.deepEqual(
    log.read('a', newest[1]?.seq ?? 0, 10).map(({ text }) => text),
    ['2499'],
  )
  const kept = log.read('a', 0, 10_000).length
  assert.ok(kept >= 1000 && kept < 2000, String(kept))
})

test('the instance that was new longest ago is forgotten first', () => {
  const { log, logger } = logOf()
  for (let i = 0; i <= 10_000; i++) logger.info({ event: 'client.connected', instance: `i${i}` }, 'connected')
  assert.deepEqual(
    [0, 1, 10_000].map(i => log.read(`i${i}`, 0, 10).length),
    [0, 1, 1],
  )
})
