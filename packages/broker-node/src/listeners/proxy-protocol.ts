import { isIP } from 'node:net'

/**
 * The header that a load balancer puts before a connection's own bytes. Spec: "The PROXY protocol", versions 1 and 2,
 * by the HAProxy project.
 */
export interface ProxyHeader {
  /** Bytes that belong to the header; the connection's own bytes follow. */
  length: number
  /** The client as the load balancer saw it; `undefined` for LOCAL and UNKNOWN, where the socket's own address counts. */
  source: { address: string; port: number } | undefined
  /** Common Name of a client certificate that the load balancer has verified. */
  certCommonName: string | undefined
}

/** The longest header of version 1, CR LF included. */
const V1_BYTES_MAX = 107
const V2_FIXED_BYTES = 16
/** Bound of the address block and all TLVs of version 2. */
const V2_VARIABLE_BYTES_MAX = 4096
const V2_SIGNATURE: Buffer = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a])
const V1_START: Buffer = Buffer.from('PROXY ')
const V1_LINE =
  /^PROXY (?:(TCP4|TCP6) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) (\d{1,5}) (\d{1,5})|UNKNOWN(?: [^\r\n]*)?)\r\n$/

const COMMAND_LOCAL = 0x20
const COMMAND_PROXY = 0x21
const FAMILY_INET = 1
const FAMILY_INET6 = 2
const TLV_SSL = 0x20
const TLV_SSL_CN = 0x22
/** Bits of the SSL TLV's `client` field: a certificate was shown on this connection, or earlier in its session. */
const SSL_CERT_SHOWN = 0x02 | 0x04

/**
 * Reads a PROXY protocol header from the first bytes of a connection.
 *
 * @returns `undefined` while more bytes are needed, `'malformed'` when no further byte can make it a header
 */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | 'malformed' | undefined {
  if (startsLike(bytes, V2_SIGNATURE)) return parseV2(bytes)
  if (startsLike(bytes, V1_START)) return parseV1(bytes)
  return 'malformed'
}

function startsLike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length)
  return bytes.compare(start, 0, length, 0, length) === 0
}

function parseV1(bytes: Buffer): ProxyHeader | 'malformed' | undefined {
  const lineFeed = bytes.subarray(0, V1_BYTES_MAX).indexOf(0x0a)
  if (lineFeed < 0) return bytes.length >= V1_BYTES_MAX ? 'malformed' : undefined
  const match = V1_LINE.exec(bytes.toString('latin1', 0, lineFeed + 1))
  if (match === null) return 'malformed'
  const [, , address, , port] = match
  if (address === undefined) return { length: lineFeed + 1, source: undefined, certCommonName: undefined }
  const sourcePort = Number(port)
  if (sourcePort > 65_535 || !isAddress(address, match[1] === 'TCP6')) return 'malformed'
  return { length: lineFeed + 1, source: { address, port: sourcePort }, certCommonName: undefined }
}

function parseV2(bytes: Buffer): ProxyHeader | 'malformed' | undefined {
  if (bytes.length < V2_FIXED_BYTES) return undefined
  const command = bytes[12]
  const variableBytes = bytes.readUInt16BE(14)
  if ((command !== COMMAND_LOCAL && command !== COMMAND_PROXY) || variableBytes > V2_VARIABLE_BYTES_MAX) {
    return 'malformed'
  }
  const length = V2_FIXED_BYTES + variableBytes
  if (bytes.length < length) return undefined
  if (command === COMMAND_LOCAL) return { length, source: undefined, certCommonName: undefined }
  return parseV2Addresses(bytes.subarray(0, length))
}

function parseV2Addresses(header: Buffer): ProxyHeader | 'malformed' {
  const length = header.length
  const family = (header[13] ?? 0) >> 4
  // Unix sockets and unspecified families tell nothing that could be shown as a client address.
  if (family !== FAMILY_INET && family !== FAMILY_INET6) return { length, source: undefined, certCommonName: undefined }
  const addressBytes = family === FAMILY_INET ? 4 : 16
  const tlvStart = V2_FIXED_BYTES + 2 * addressBytes + 4
  if (length < tlvStart) return 'malformed'
  const addressBlock = header.subarray(V2_FIXED_BYTES, V2_FIXED_BYTES + addressBytes)
  const address = family === FAMILY_INET ? addressBlock.join('.') : formatIpv6(addressBlock)
  const port = header.readUInt16BE(V2_FIXED_BYTES + 2 * addressBytes)
  const certCommonName = findCertCommonName(header.subarray(tlvStart))
  if (certCommonName === 'malformed') return 'malformed'
  return { length, source: { address, port }, certCommonName: certCommonName?.name }
}

function findCertCommonName(tlvs: Buffer): { name: string } | 'malformed' | undefined {
  const ssl = findTlv(tlvs, TLV_SSL)
  if (ssl === undefined || ssl === 'malformed') return ssl
  if (ssl.length < 5) return 'malformed'
  const wasShown = ((ssl[0] ?? 0) & SSL_CERT_SHOWN) !== 0
  const isVerified = ssl.readUInt32BE(1) === 0
  const name = findTlv(ssl.subarray(5), TLV_SSL_CN)
  if (name === undefined || name === 'malformed') return name
  return wasShown && isVerified ? { name: name.toString('utf8') } : undefined
}

/** Walks the whole list, so that a broken length is found also behind the wanted type. */
function findTlv(tlvs: Buffer, type: number): Buffer | 'malformed' | undefined {
  let found: Buffer | undefined
  let offset = 0
  while (offset < tlvs.length) {
    if (offset + 3 > tlvs.length) return 'malformed'
    const end = offset + 3 + tlvs.readUInt16BE(offset + 1)
    if (end > tlvs.length) return 'malformed'
    if (tlvs[offset] === type) found ??= tlvs.subarray(offset + 3, end)
    offset = end
  }
  return found
}

function isAddress(text: string, isIpv6: boolean): boolean {
  return (isIP(text) === 6) === isIpv6 && isIP(text) !== 0
}

/** Shortest usual spelling, by way of the URL parser, which knows the rules for `::`. */
function formatIpv6(bytes: Buffer): string {
  const groups: string[] = []
  for (let offset = 0; offset < 16; offset += 2) groups.push(bytes.readUInt16BE(offset).toString(16))
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}
