export type { AclIdentity, AclRule } from './acl.ts'
export { checkAclPattern } from './acl.ts'
export type { AclCase, AclDecision, AclQuestion } from './acl-decision.ts'
export { decideAcl, publishesAlike } from './acl-decision.ts'
export { AclTree } from './acl-tree.ts'
export { decodePacket, shortAckPacketId } from './codec/decode.ts'
export type { ConnectBeginning } from './codec/decode-connect.ts'
export { decodeConnect, peekConnect, UnsupportedProtocolError } from './codec/decode-connect.ts'
export { decodeForwardableProperties, NO_PROPERTIES } from './codec/decode-properties.ts'
export { decodePublish, PublishView } from './codec/decode-publish.ts'
export type { AckType } from './codec/encode.ts'
export {
  codesAnswerSize,
  encodeAck,
  encodeAuth,
  encodeConnack,
  encodeDisconnect,
  encodeSuback,
  encodeUnsuback,
  PINGRESP_BYTES,
} from './codec/encode.ts'
export { encodeForwardableProperties } from './codec/encode-properties.ts'
export { PublishFrame, packetIdOffset, patchPacketId } from './codec/encode-publish.ts'
export { fitProperties } from './codec/fit-properties.ts'
export { firstByteProblem, scanFrame } from './codec/frame.ts'
export {
  type DecodedQueueEntry,
  type DeliveryOptions,
  type DetachedMessage,
  decodeMessage,
  decodeQueueEntry,
  decodeSubscription,
  decodeSubscriptionOptions,
  decodeWill,
  detachMessage,
  encodeMessage,
  encodeQueueEntryHeader,
  encodeSubscription,
  encodeSubscriptionOptions,
  encodeWill,
  messageSize,
} from './envelope.ts'
export type { ErrorCode } from './errors.ts'
export { BrokerError, ProtocolError } from './errors.ts'
export type { ExactChangeListener, TopicSlots } from './filter-changes.ts'
export { FilterChanges } from './filter-changes.ts'
export { FilterIndex, FilterNode } from './filter-index.ts'
export { instanceKey } from './instance-key.ts'
export { keepAliveSecondsOf, keepAliveTimeoutMs } from './keep-alive.ts'
export {
  FIXED_HEADER_BYTES_MAX,
  PACKET_BYTES_MAX,
  RECEIVE_MAXIMUM_DEFAULT,
  SESSION_EXPIRY_NEVER,
  STRING_BYTES_MAX,
} from './limits.ts'
export { MatchCache } from './match-cache.ts'
export type { MessageFields } from './message.ts'
export { EMPTY_BYTES, Message, remainingExpirySeconds } from './message.ts'
export type { NodeCommand, TakeoverAnswer } from './node-command.ts'
export { FrameReader, FrameWriter } from './node-frame.ts'
export type {
  AckPacket,
  AuthPacket,
  ClientPacket,
  ConnectPacket,
  DisconnectPacket,
  PingreqPacket,
  Properties,
  ProtocolVersion,
  Qos,
  SubscribePacket,
  SubscribeRequest,
  UnsubscribePacket,
  UserProperty,
  Will,
} from './packet.ts'
export { PacketType } from './packet.ts'
export { PacketIdPool } from './packet-id.ts'
export type { Grant, InstanceRules, Permissions, RuleSource } from './permissions.ts'
export { ALL_PERMITTED } from './permissions.ts'
export type { DeadlineStore, ExpiredSession, SweepResult } from './ports/deadlines.ts'
export { type Directory, type DirectoryListener, RouteInterest } from './ports/directory.ts'
export type { GroupStore, TakenEntry } from './ports/groups.ts'
export { DEFAULT_INSTANCE, type InstanceName } from './ports/instance-name.ts'
export type {
  CommitItem,
  CommitResult,
  GroupTarget,
  MessageStore,
  SessionTarget,
  StoreLimits,
} from './ports/messages.ts'
export type { LinkListener, NodeLink } from './ports/node-link.ts'
export type { QueueEntry, QueueLimits, QueueStore } from './ports/queues.ts'
export type {
  HeldSlot,
  QuotaStore,
  SlotAnswer,
  SlotLimit,
  SlotRequest,
  TokenLease,
  TokenWish,
} from './ports/quotas.ts'
export {
  checkRecordChanges,
  type RecordChange,
  type RecordListener,
  type RecordRow,
  type RecordStore,
  recordConflict,
} from './ports/records.ts'
export type { RetainedPage, RetainedStore } from './ports/retained.ts'
export type { SecretStore } from './ports/secrets.ts'
export type { SessionInspection, SessionPage, SessionRecordView } from './ports/session-inspection.ts'
export type { CloseRequest, OpenedSession, OpenRequest, SessionStore } from './ports/sessions.ts'
export type { Store, StoreListener } from './ports/store.ts'
export type { StoredSubscription, Subscription } from './ports/subscription.ts'
export type { DueWill, StoredWill, WillOwner, WillStore } from './ports/wills.ts'
export type { PublishRunFields } from './publish-run.ts'
export { PublishRun, RUN_FIRST_BYTE } from './publish-run.ts'
export { QuietTimes } from './quiet-times.ts'
export { ReasonCode, returnCodeOf } from './reason-code.ts'
export type { RetainedMatches } from './retained-index.ts'
export { RetainedIndex } from './retained-index.ts'

export { RuleBook } from './rule-book.ts'
export {
  decideClose,
  decideStart,
  decideWillOnOpen,
  type SessionFacts,
  type SessionStart,
  standingOf,
  standingOfFiredWill,
  standingOfOpenWill,
  type WillFate,
} from './session-rules.ts'
export { smallestAfter } from './smallest-after.ts'
export { TokenBucket } from './token-bucket.ts'
export { InboundTopicAliases, OutboundTopicAliases } from './topic-alias.ts'
export type { SharedFilter } from './topic-filter.ts'
export { checkTopicFilter, hasWildcard, parseShare } from './topic-filter.ts'
export { checkTopicName, isReservedForServer, TOPIC_LEVELS_MAX_DEFAULT } from './topic-name.ts'
export { decodeUtf8, encodeUtf8, isValidUtf8 } from './utf8.ts'
