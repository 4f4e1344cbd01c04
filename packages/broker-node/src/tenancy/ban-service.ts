import { BlockList, isIP } from 'node:net'
import { BrokerError, type InstanceName } from '@midge/protocol-core'
import { freshRecordId } from './fresh-names.ts'
import type { Actor } from './model/audit-entry.ts'
import { type Ban, ban } from './model/ban.ts'
import { created, notFound } from './record-drafts.ts'
import { recordKey } from './record-key.ts'
import { checkInput } from './record-reading.ts'
import type { ServiceParts } from './service-parts.ts'
import type { Page, PageRequest, Tenancy } from './tenancy.ts'

/** Bans that an instance may have at one time. */
export const BANS_MAX = 10_000

type BanPlane = Tenancy['bans']

/** Who may not come in, by instance. */
export class BanService implements BanPlane {
  private readonly parts: ServiceParts

  constructor(parts: ServiceParts) {
    this.parts = parts
  }

  list(instance: InstanceName, page: PageRequest): Page<Ban> {
    return this.parts.tables.of(instance).bans.page(page)
  }

  async create(instance: InstanceName, input: Omit<Ban, 'id' | 'createdAtMs'>, actor: Actor): Promise<Ban> {
    const { tables, writer, conditions, now } = this.parts
    const createdAtMs = now()
    const row = checkInput(ban, { ...input, id: freshRecordId(createdAtMs), createdAtMs })
    if (row.kind === 'address' && !isAddressOrRange(row.value)) {
      throw new BrokerError('MIDGE_INVALID', 'value: is neither an address nor a range such as 192.0.2.0/24')
    }
    return writer.commit(actor, () => {
      const lapsed = [...tables.of(instance).bans.values()].filter(
        ({ untilMs }) => (untilMs ?? Infinity) <= createdAtMs,
      )
      if (tables.of(instance).bans.size - lapsed.length >= BANS_MAX) {
        throw new BrokerError('MIDGE_INVALID', `kind: an instance has at most ${BANS_MAX} bans`)
      }
      return {
        changes: [
          conditions.instanceStays(instance),
          created(recordKey('ban', instance, row.id), row),
          ...lapsed
            .slice(0, LAPSED_PER_WRITE)
            .map(({ id }) => ({ key: recordKey('ban', instance, id), value: undefined })),
        ],
        audit: { action: 'ban.created', instance, subject: `${row.kind} ${row.value}` },
        result: row,
      }
    })
  }

  async remove(instance: InstanceName, id: string, actor: Actor): Promise<void> {
    const { tables, writer, conditions } = this.parts
    await writer.commit(actor, () => {
      const row = tables.of(instance).bans.get(id)
      if (row === undefined) throw notFound('ban')
      return {
        changes: [conditions.replaced(recordKey('ban', instance, id), row, undefined)],
        audit: { action: 'ban.removed', instance, subject: `${row.kind} ${row.value}` },
        result: undefined,
      }
    })
  }
}

/** Bans that are over go with the next one that is made. */
const LAPSED_PER_WRITE = 100

function isAddressOrRange(value: string): boolean {
  const [address = '', prefix, ...rest] = value.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  if (prefix === undefined) return true
  if (!/^\d{1,3}$/.test(prefix)) return false
  try {
    new BlockList().addSubnet(address, Number(prefix), family === 4 ? 'ipv4' : 'ipv6')
    return true
  } catch {
    return false
  }
}
