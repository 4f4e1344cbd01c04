import { BrokerError, type InstanceName, type RecordChange } from '@midge/protocol-core'
import { BUILT_IN_PLANS } from './built-in-plans.ts'
import type { ControlTables } from './control-tables.ts'
import { alreadyExists, created } from './record-drafts.ts'
import { recordKey } from './record-key.ts'

/** First and last port that an instance may get as the base of its block. */
export interface PortBases {
  min: number
  max: number
  /** Ports of the node itself, which no block may have. */
  reserved: ReadonlySet<number>
}

/** How far the ports of an instance lie above its base: MQTT, MQTT over TLS, WebSocket over TLS. */
const PORT_OFFSETS = [0, 10_000, 20_000]

/**
 * The names that an instance gets and gives up. Each is a record, so that no two instances get the same.
 *
 * @throws BrokerError `MIDGE_ALREADY_EXISTS` for a name of another instance
 */
export function hostClaims(
  tables: ControlTables,
  id: InstanceName,
  { before, after }: { before: readonly string[]; after: readonly string[] },
): RecordChange[] {
  const changes: RecordChange[] = []
  for (const host of before)
    if (!after.includes(host)) changes.push({ key: recordKey('host', '', host), value: undefined })
  for (const host of new Set(after)) {
    if (before.includes(host)) continue
    if (tables.text('host', '', host) !== undefined) throw alreadyExists(`hosts: ${host}`)
    changes.push(created(recordKey('host', '', host), id))
  }
  return changes
}

/**
 * The lowest block of ports that nobody has.
 *
 * @throws BrokerError `MIDGE_INVALID` when there is none
 */
export function portClaim(tables: ControlTables, { min, max, reserved }: PortBases): number {
  for (let base = min; base <= max; base++) {
    if (PORT_OFFSETS.some(offset => reserved.has(base + offset))) continue
    if (tables.text('port', '', String(base)) === undefined) return base
  }
  throw new BrokerError('MIDGE_INVALID', `withPorts: all blocks from ${min} to ${max} are taken`)
}

/**
 * The plan is still there when the write happens.
 *
 * @throws BrokerError `MIDGE_INVALID` when it is not there as it is
 */
export function planStays(tables: ControlTables, plan: string): RecordChange[] {
  const row = tables.plans.get(plan)
  if (row === undefined) throw new BrokerError('MIDGE_INVALID', `plan: no such plan: ${plan}`)
  if (BUILT_IN_PLANS.some(builtIn => builtIn.id === plan)) return []
  const key = recordKey('plan', '', plan)
  const value = tables.rawOf(key, row)
  return [{ key, value, expected: { value } }]
}
