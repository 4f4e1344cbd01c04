import { BlockList, isIP } from 'node:net'

/**
 * IPv4 addresses that are nobody's server on the Internet: IANA's special-purpose registry, multicast and reserved
 * space, and the one public address under which a cloud (Azure) offers its metadata.
 */
const SPECIAL_V4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
]
/** Outside of it nothing is global: loopback, local, link-local, mapped and translated IPv4, multicast. */
const GLOBAL_V6 = ['2000::/3']
/** Inside of it: protocol assignments and tunnels, which lead to IPv4 again, and documentation. */
const SPECIAL_V6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']

const MAPPED_V4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/**
 * Says which servers this node may be sent to by those who use it: every public address, and besides what an operator
 * has allowed. Whoever can name an address here would otherwise reach what only the node can reach.
 */
export class AddressGuard {
  private readonly allowed = new BlockList()
  private readonly allowedHosts: Set<string> = new Set()
  private readonly special = listOf(SPECIAL_V4, SPECIAL_V6)
  private readonly global = listOf([], GLOBAL_V6)

  /** @param allow - addresses, ranges in CIDR form and host names that are allowed although they are not public */
  constructor(allow: readonly string[]) {
    for (const entry of allow) if (!addRange(this.allowed, entry)) this.allowedHosts.add(normalHost(entry))
  }

  /** True for a name that an operator has allowed, wherever it leads. */
  trustsHost(host: string): boolean {
    return this.allowedHosts.has(normalHost(host))
  }

  /** @param address - IPv4 or IPv6, without brackets */
  allowsAddress(address: string): boolean {
    const plain = MAPPED_V4.exec(address)?.[1] ?? address.split('%')[0] ?? ''
    const family = isIP(plain)
    if (family === 0) return false
    const type = family === 4 ? 'ipv4' : 'ipv6'
    if (this.allowed.check(plain, type)) return true
    if (this.special.check(plain, type)) return false
    return family === 4 || this.global.check(plain, 'ipv6')
  }
}

/** As names are compared: lower case, without the dot of the root and without the brackets of IPv6. */
export function normalHost(host: string): string {
  const lower = host.toLowerCase().replace(/\.$/, '')
  return lower.startsWith('[') ? lower.slice(1, -1) : lower
}

/**
 * Adds an address or a range in CIDR form.
 *
 * @returns false when the text is neither
 */
export function addRange(list: BlockList, text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/')
  const family = isIP(address)
  const widest = family === 4 ? 32 : 128
  if (family === 0 || rest.length > 0) return false
  if (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= widest)) return false
  list.addSubnet(address, bits === undefined ? widest : Number(bits), family === 4 ? 'ipv4' : 'ipv6')
  return true
}

function listOf(...ranges: readonly (readonly string[])[]): BlockList {
  const list = new BlockList()
  for (const text of ranges.flat()) addRange(list, text)
  return list
}
