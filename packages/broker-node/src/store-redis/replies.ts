import { BrokerError } from '@midge/protocol-core'

/*
 * Replies of our own scripts have a known shape; anything else means that the data belongs to another release or
 * was changed by hand.
 */

function corrupt(expected: string): BrokerError {
  return new BrokerError('MIDGE_STORE_CORRUPT', `Redis answered with something that is not ${expected}`)
}

export function toBuffer(reply: unknown): Buffer {
  if (Buffer.isBuffer(reply)) return reply
  throw corrupt('a string')
}

export function toText(reply: unknown): string {
  return toBuffer(reply).toString('utf8')
}

export function toNumber(reply: unknown): number {
  if (typeof reply === 'number') return reply
  const value = Buffer.isBuffer(reply) && reply.length > 0 ? Number(reply.toString('latin1')) : Number.NaN
  if (Number.isNaN(value)) throw corrupt('a number')
  return value
}

export function toList(reply: unknown): unknown[] {
  if (Array.isArray(reply)) return reply
  throw corrupt('a list')
}
