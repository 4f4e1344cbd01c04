const IPV6_GROUPS = 8
const NETWORK_GROUPS = 4

/**
 * Who shares what an address is owed: an IPv4 address alone, the first 64 bits of an IPv6 one, since one subscriber is
 * given that many addresses. Anything else stands for itself.
 *
 * @param address - as listeners tell it, IPv4 in its own form
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const last = tail === '' ? 0 : tail.split(':').length
    while (groups.length < IPV6_GROUPS - last) groups.push('0')
    if (tail !== '') groups.push(...tail.split(':'))
  }
  return groups
    .slice(0, NETWORK_GROUPS)
    .map(group => Number.parseInt(group, 16).toString(16))
    .join(':')
}
