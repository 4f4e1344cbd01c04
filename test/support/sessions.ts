import { type ConnectFields, P, type Property, type Version } from './mqtt-bytes.ts'

/** Fields of a CONNECT whose session outlives its connection, in either version. */
export function persistent(version: Version, clientId: string, more: ConnectFields = {}): ConnectFields {
  const expiry: Property = [P.sessionExpiry, 300]
  const properties = version === 5 ? [expiry, ...(more.properties ?? [])] : []
  return { ...more, clientId, clean: false, properties }
}

/** `count` texts, each different, in the order of their numbers. */
export function numbered(count: number, prefix: string = 'm'): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`)
}
