import { lookup } from 'node:dns'
import { Resolver } from 'node:dns/promises'
import { isIP } from 'node:net'
import { promisify } from 'node:util'
import { BrokerError } from '@midge/protocol-core'
import { type AddressGuard, normalHost } from './address-guard.ts'

/** An address that may be connected to. */
export interface CheckedAddress {
  address: string
  family: 4 | 6
}

const ANSWER_MS_MAX = 2000
const TRIES = 2
const systemLookup = promisify(lookup)

/**
 * Turns host names into addresses that may be connected to. Whoever connects takes the address from here and not the
 * name: asked again, the name might lead elsewhere.
 */
export class AddressBook {
  private readonly guard: AddressGuard
  private readonly resolver = new Resolver({ timeout: ANSWER_MS_MAX, tries: TRIES })

  /** @param nameServers - `address:port` of servers to ask in the place of the system's */
  constructor(guard: AddressGuard, nameServers?: readonly string[]) {
    this.guard = guard
    if (nameServers !== undefined) this.resolver.setServers(nameServers)
  }

  /**
   * @param host - name or address; IPv6 with or without brackets
   * @returns at least one address
   * @throws BrokerError `MIDGE_OUTBOUND_REFUSED` when it leads to no allowed address, `MIDGE_OUTBOUND_FAILED` (retryable)
   * when it leads nowhere
   */
  async find(host: string): Promise<CheckedAddress[]> {
    const name = normalHost(host)
    const isTrusted = this.guard.trustsHost(name)
    const found = isIP(name) === 0 ? await this.resolve(name, isTrusted) : [name]
    const allowed = isTrusted ? found : found.filter(address => this.guard.allowsAddress(address))
    if (allowed.length === 0 && found.length > 0) {
      throw new BrokerError('MIDGE_OUTBOUND_REFUSED', `${host} is no public address; see outbound.allow`)
    }
    if (allowed.length === 0) throw new BrokerError('MIDGE_OUTBOUND_FAILED', `${host} has no address`, RETRYABLE)
    return allowed.map(address => ({ address, family: isIP(address) === 6 ? 6 : 4 }))
  }

  /**
   * The system's own look-up knows files and search domains, but takes a thread of the pool for as long as a name
   * server is silent: it is for names that an operator trusts. Others are asked for by DNS alone.
   */
  private async resolve(name: string, isTrusted: boolean): Promise<string[]> {
    if (isTrusted) {
      const found = await systemLookup(name, { all: true }).catch(() => [])
      return found.map(({ address }) => address)
    }
    const [four, six] = await Promise.allSettled([this.resolver.resolve4(name), this.resolver.resolve6(name)])
    return [...(four.status === 'fulfilled' ? four.value : []), ...(six.status === 'fulfilled' ? six.value : [])]
  }
}

const RETRYABLE = { retryable: true }
