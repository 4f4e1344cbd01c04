/*
 * Bounds that the standard itself sets. Bounds that an operator may choose are in the node's configuration and are
 * never above these.
 */

/** Largest Packet Identifier; 0 is not an identifier. Spec: section 2.2.1 (v3.1.1 2.3.1). */
export const PACKET_ID_MAX = 0xffff

/** Largest value of a Variable Byte Integer: four groups of seven bits. Spec: v5 section 1.5.5. */
export const VARIABLE_BYTE_MAX = 0x0fff_ffff

/** Largest Remaining Length. Spec: section 2.1.4 (v3.1.1 2.2.3). */
export const REMAINING_LENGTH_MAX: number = VARIABLE_BYTE_MAX

/** First byte and at most four bytes of Remaining Length. */
export const FIXED_HEADER_BYTES_MAX = 5

/** Largest packet that can be framed at all. */
export const PACKET_BYTES_MAX: number = REMAINING_LENGTH_MAX + FIXED_HEADER_BYTES_MAX

/** Longest UTF-8 Encoded String, in bytes of UTF-8. Spec: section 1.5.4 (v3.1.1 1.5.3). */
export const STRING_BYTES_MAX = 0xffff

/** Receive Maximum of a peer that does not state one. Spec: v5 sections 3.1.2.11.3 and 3.2.2.3.3. */
export const RECEIVE_MAXIMUM_DEFAULT = 0xffff

/** Session Expiry Interval that means "never" on the wire. v5 section 3.1.2.11.2. */
export const SESSION_EXPIRY_NEVER = 0xffff_ffff
