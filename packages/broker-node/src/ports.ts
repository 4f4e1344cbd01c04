import type { Duplex } from 'node:stream'
import type {
  AclRule,
  DueWill,
  InstanceName,
  Message,
  Permissions,
  ProtocolVersion,
  WillOwner,
} from '@midge/protocol-core'

/** What a listener knows of a connection before the first MQTT byte. */
export interface ConnectionInfo {
  /** Unique in this process, for the log. */
  connectionId: string
  transport: 'tcp' | 'tls' | 'ws' | 'wss'
  /** The client's address; with PROXY protocol the one the load balancer told. */
  remoteAddress: string
  remotePort: number
  localAddress: string
  localPort: number
  /** Instance that this port is of; absent for a port of all instances. */
  boundInstance?: InstanceName | undefined
  /** Whoever comes in here has to say who it is, also where clients without username are let in. */
  loginRequired?: boolean
  /** Server name that the client asked for in TLS (SNI), in lower case. */
  serverName: string | undefined
  /** Host of the WebSocket request without its port, in lower case, and its path. */
  host: string | undefined
  path: string | undefined
  /** Common Name of a verified client certificate. */
  certCommonName: string | undefined
}

/** Takes what a connection reads; implemented by whoever has the connection. */
export interface ReadSink {
  /**
   * `buffer[0, length)` has been read. The buffer is that of every connection: it holds these bytes until the call
   * returns, and whoever keeps some of them has to copy them.
   */
  onRead(buffer: Buffer, length: number): void
}

/** Takes over a connection that speaks MQTT from its next byte on; implemented by the engine. */
export interface ConnectionAcceptor {
  /** The bytes come as the stream's `data` events. */
  accept(stream: Duplex, info: ConnectionInfo): void
  /**
   * The bytes come to the sink that is returned, and the stream has no `data` events; `pause` holds them back.
   * Everything else is the stream's, which is a socket of `node:net`: writing, end and errors.
   */
  acceptReads(stream: Duplex, info: ConnectionInfo): ReadSink
}

/** What a CONNECT says of its sender, and where it came from. */
export interface LoginRequest {
  info: ConnectionInfo
  /** Level of the protocol: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5. */
  protocolVersion: ProtocolVersion
  clientId: string
  username: string | undefined
  password: Uint8Array | undefined
  /** Authentication Method of v5. */
  method: string | undefined
  /** Size of CONNECT, which stays in memory until the decision. */
  packetBytes: number
  caller: Caller
}

/** A {@link LoginRequest} with the instance it is about; `username` is the one inside that instance. */
export interface Claim extends LoginRequest {
  instance: InstanceName
}

/** A claim that was not believed. `reason` is for the log, in plain words; clients never see it. */
export interface LoginFailure {
  kind: 'failure'
  reasonCode: number
  reason: string
}

/** What a login brings of its own, beside what the instance has laid down for its user. */
export interface LoginGrant {
  /** Their patterns accepted by `checkAclPattern`. */
  rules?: readonly AclRule[] | undefined
  /** No rules apply: everything is allowed. */
  isUnrestricted?: boolean | undefined
  /** Unix time at which the connection has to end. */
  expiresAtMs?: number | undefined
}

/** What became of one message of a login; `next` leaves the claim to the methods behind this one. */
export type LoginStep =
  | { kind: 'continue'; data: Uint8Array }
  | { kind: 'success'; username: string | undefined; data: Uint8Array | undefined; grant?: LoginGrant }
  | LoginFailure
  | { kind: 'next' }

/** One running login, of one message or several. v5 section 4.12. */
export interface Login {
  /** Gets the Authentication Data of CONNECT first, then of each AUTH. Never throws for bad credentials. */
  step(data: Uint8Array | undefined): LoginStep | Promise<LoginStep>
}

/** One way to prove who one is; several form a chain, in which the first that takes a claim decides. */
export interface LoginMethod {
  /** @returns `undefined` for a claim that is none of its business */
  begin(claim: Claim): Login | undefined
}

/** What an admitted client may use beside the limits of its instance; absent means unlimited. */
export interface Plan {
  /** Connections of its user at one time, in the whole cluster. */
  readonly connectionsMax?: number | undefined
}

/** What an instance may use in the whole cluster; `null` is unlimited. */
export interface UsageLimits {
  readonly connections: number | null
  /** Ten seconds' worth may come at once. */
  readonly connectsPerSecond: number | null
  /** Sessions that outlive their connection. */
  readonly sessions: number | null
  readonly subscriptionsPerSession: number | null
  readonly sessionExpirySeconds: number | null
  readonly retainedMessages: number | null
  readonly retainedBytes: number | null
  /** In the queue of one session. */
  readonly queueMessages: number | null
  readonly queueBytes: number | null
  readonly packetBytes: number | null
  /** PUBLISH packets from clients, and to clients, with their bytes. */
  readonly messagesInPerSecond: number | null
  readonly messagesOutPerSecond: number | null
  readonly bytesInPerSecond: number | null
  readonly bytesOutPerSecond: number | null
  /** Seconds' worth of these four that may come at once, after as long a silence. */
  readonly burstSeconds: number
}

/** The limits of an instance, under the name by which its clients are told of them. */
export interface InstancePlan {
  readonly name: string
  readonly limits: UsageLimits
}

/** What instances may use, as it is now. */
export interface InstanceLimits {
  /** Grows with every change of any limit. */
  readonly version: number
  /** @returns `undefined` for an instance without limits */
  planOf(instance: InstanceName): InstancePlan | undefined
}

/** Who a client turned out to be, and what that gives it. */
export interface Admitted {
  instance: InstanceName
  /** `undefined` for an anonymous client. */
  username: string | undefined
  /** Always as the user's rights are now, also when they change later. */
  permissions: Permissions
  plan: Plan
  /** Unix time at which the connection is closed; absent for never. */
  expiresAtMs?: number | undefined
}

/** What the door says to one message of a client. */
export type AdmissionStep =
  | { kind: 'continue'; data: Uint8Array }
  | { kind: 'admitted'; admitted: Admitted; data: Uint8Array | undefined }
  /** `text` is what the client may be told. */
  | { kind: 'refused'; reasonCode: number; text: string }

/** One client on its way in. */
export interface Admission {
  step(data: Uint8Array | undefined): AdmissionStep | Promise<AdmissionStep>
}

/** Rights of clients that are not there any more, on whatever node they were. */
export interface WillRights {
  /**
   * @param message - that the client may publish, as it connects
   * @returns whose rights are to be asked for when the will fires; `undefined` when only this login allows it
   */
  ownerOf(instance: InstanceName, client: ClientName, message: Message): WillOwner | undefined
  /** True when the will may still be published. */
  mayFire(due: DueWill): boolean
}

/** A client within its instance; `username` is `undefined` for an anonymous one. */
export interface ClientName {
  readonly username: string | undefined
  readonly clientId: string
}

/** Where every client has to pass before anything is bound to an instance. */
export interface Door {
  readonly wills: WillRights
  /** A login method that is asked before all others. */
  putFirst(method: LoginMethod): void
  /** Each CONNECT, and each re-authentication, begins here. */
  begin(request: LoginRequest): Admission
}

/** The connection behind a claim. */
export interface Caller {
  /** True when nobody waits for the answer any more, so that none has to be worked out. */
  readonly isGone: boolean
}

/** The part of pino that the node uses, so that no folder but `observe` knows the library. */
export interface Logger {
  trace(fields: object, text: string): void
  debug(fields: object, text: string): void
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
  error(fields: object, text: string): void
  isLevelEnabled(level: string): boolean
  child(bindings: Record<string, unknown>): Logger
}

/** One open connection, as those see it who look at the node from outside. */
export interface ConnectionFacts {
  clientId: string
  username: string | undefined
  address: string
  port: number
  transport: ConnectionInfo['transport']
  /** Protocol level. */
  protocol: 3 | 4 | 5
  keepAliveSeconds: number
  /** 0 for a session that ends with the connection. */
  sessionExpirySeconds: number
  connectedAtMs: number
  subscriptionCount: number
}

/** One subscription. */
export interface SubscriptionFacts {
  clientId: string
  topicFilter: string
  qos: 0 | 1 | 2
  noLocal: boolean
  retainAsPublished: boolean
  retainHandling: number
  /** 0 for none. */
  subscriptionId: number
}

/** Part of a list; `next` is where it goes on, absent at its end. */
export interface FactsSlice<T> {
  items: T[]
  next: string | undefined
}
