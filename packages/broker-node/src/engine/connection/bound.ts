import {
  type InstanceName,
  type OutboundTopicAliases,
  PACKET_BYTES_MAX,
  type ProtocolVersion,
  ReasonCode,
} from '@midge/protocol-core'
import type { Rights } from '../ground/rights.ts'
import { UNLIMITED, type Usage } from '../ground/usage.ts'
import { NO_TERMS, type Terms } from './terms.ts'

/** Everything that CONNECT settles about a connection; replaced as a whole whenever CONNECT has learnt more. */
export interface Bound {
  readonly instance: InstanceName
  readonly clientId: string
  readonly username: string | undefined
  readonly version: ProtocolVersion
  readonly terms: Terms
  readonly rights: Rights
  /** Of its instance. */
  readonly usage: Usage
  /** Largest packet that the client may send. */
  readonly packetBytesMax: number
  /** Frames that came in fit this client as they are: it takes no aliases and has no size limit of its own. */
  readonly takesPlainFrames: boolean
  readonly aliasesOut: OutboundTopicAliases | undefined
}

/** Before CONNECT nobody is allowed anything. */
const NO_RIGHTS: Rights = {
  version: 0,
  allowRuns: false,
  filtersPublish: true,
  filtersSubscribe: true,
  filtersForward: true,
  mayPublish: () => ReasonCode.notAuthorized,
  publishesAlike: () => true,
  reviewPublish: () => ReasonCode.notAuthorized,
  maySubscribe: () => ReasonCode.notAuthorized,
  reviewForward: () => undefined,
}

/** Before CONNECT. */
export const UNBOUND: Bound = {
  instance: '',
  clientId: '',
  username: undefined,
  version: 4,
  terms: NO_TERMS,
  rights: NO_RIGHTS,
  usage: UNLIMITED,
  packetBytesMax: PACKET_BYTES_MAX,
  takesPlainFrames: false,
  aliasesOut: undefined,
}
