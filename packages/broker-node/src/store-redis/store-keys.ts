import { PARTITION_TAGS, partitionOf } from './hash-tag.ts'

/** Where a client id or a group lives: its partition and its encoded name. */
export interface Place {
  partition: number
  /** `<instance>:<name>`, both percent-encoded: no brace, colon, bar or space of a client can end up in a key. */
  id: string
}

/** The names of all keys of one session. */
export interface SessionKeys {
  record: string
  subscriptions: string
  queue: string
  inbound: string
  released: string
  groups: string
}

/** The names of all keys of one share group, and of what one member holds. */
export interface GroupKeys {
  queue: string
  record: string
  members: string
}

/**
 * Every key of the store, `docs/redis-keys.md` describes them. `{p<K>}` is a precomputed hash tag, so that everything
 * one script touches lies in one slot.
 */
export class StoreKeys {
  private readonly prefix: string

  constructor(prefix: string) {
    if (!/^[\w.-]+$/.test(prefix)) throw new Error('a key prefix has letters, digits, "_", "." and "-" only')
    this.prefix = prefix
  }

  place(instance: string, name: string): Place {
    return {
      partition: partitionOf(instance, name),
      id: `${encodeURIComponent(instance)}:${encodeURIComponent(name)}`,
    }
  }

  session(place: Place): SessionKeys {
    const { id } = place
    const tag = PARTITION_TAGS[place.partition]
    return {
      record: `${this.prefix}:s:{${tag}}:${id}`,
      subscriptions: `${this.prefix}:sub:{${tag}}:${id}`,
      queue: `${this.prefix}:q:{${tag}}:${id}`,
      inbound: `${this.prefix}:i2:{${tag}}:${id}`,
      released: `${this.prefix}:r2:{${tag}}:${id}`,
      groups: `${this.prefix}:g:{${tag}}:${id}`,
    }
  }

  record(place: Place): string {
    return `${this.prefix}:s:{${PARTITION_TAGS[place.partition]}}:${place.id}`
  }

  queue(place: Place): string {
    return `${this.prefix}:q:{${PARTITION_TAGS[place.partition]}}:${place.id}`
  }

  /** Deadlines of a partition; the first letter of a member says of what, see {@link DueKind}. */
  due(partition: number): string {
    return `${this.prefix}:due:{${PARTITION_TAGS[partition]}}`
  }

  /** Wills that are due or wait for their delay. */
  wills(partition: number): string {
    return `${this.prefix}:wills:{${PARTITION_TAGS[partition]}}`
  }

  /** Share groups that get messages back from a session. */
  jobs(partition: number): string {
    return `${this.prefix}:jobs:{${PARTITION_TAGS[partition]}}`
  }

  /** Counter that epochs are taken from. */
  epoch(partition: number): string {
    return `${this.prefix}:epoch:{${PARTITION_TAGS[partition]}}`
  }

  /** Which node owns which open session, in lexical order of the node. */
  owners(partition: number): string {
    return `${this.prefix}:own:{${PARTITION_TAGS[partition]}}`
  }

  /** Sessions that have stored subscriptions. */
  stored(partition: number): string {
    return `${this.prefix}:ids:{${PARTITION_TAGS[partition]}}`
  }

  /** Attempts to commit a QoS 2 message, and their ages. */
  dedup(partition: number): [string, string] {
    const tag = PARTITION_TAGS[partition]
    return [`${this.prefix}:dd:{${tag}}`, `${this.prefix}:ddx:{${tag}}`]
  }

  group(place: Place): GroupKeys {
    const { id } = place
    const tag = PARTITION_TAGS[place.partition]
    return {
      queue: `${this.prefix}:gq:{${tag}}:${id}`,
      record: `${this.prefix}:gm:{${tag}}:${id}`,
      members: `${this.prefix}:gs:{${tag}}:${id}`,
    }
  }

  /** What one member of a group holds; `member` is the percent-encoded client id. */
  groupHeld(place: Place, member: string): string {
    return `${this.prefix}:gh:{${PARTITION_TAGS[place.partition]}}:${place.id}:${member}`
  }

  retained(partition: number, instance: string): { values: string; index: string } {
    const tag = PARTITION_TAGS[partition]
    const name = encodeURIComponent(instance)
    return { values: `${this.prefix}:ret:{${tag}}:${name}`, index: `${this.prefix}:ridx:{${tag}}:${name}` }
  }

  /** What an instance with a plan has retained: the size of each topic, and their sum. */
  retainedRoom(instance: string): [sizes: string, sum: string] {
    const name = encodeURIComponent(instance)
    return [`${this.prefix}:rlim:{q:${name}}`, `${this.prefix}:rsum:{q:${name}}`]
  }

  /** Sessions of an instance with a plan that may outlive their connection. */
  sessionRoom(instance: string): string {
    return `${this.prefix}:slim:{q:${encodeURIComponent(instance)}}`
  }

  /** Member of {@link due} for a retained message. */
  retainedMember(instance: string, topicName: string): string {
    return `${DueKind.retained}${encodeURIComponent(instance)}:${topicName}`
  }

  /** A random key that all nodes share. */
  secret(name: string): string {
    return `${this.prefix}:secret:${name}`
  }

  /** Channel on which a node hears that queues of its sessions have grown; the node id is appended, encoded. */
  pokePrefix(): string {
    return `${this.prefix}:poke:`
  }
}

/** First letter of a member of the `due` set. */
export const DueKind = {
  /** `e<session>`: the session ends. */
  expiry: 'e',
  /** `w<session>:<epoch>`: a will is to be published. */
  will: 'w',
  /** `g<session>:<epoch>`: messages go back to share groups. */
  groups: 'g',
  /** `r<instance>:<topic>`: a retained message expires. */
  retained: 'r',
} as const

/** @returns the two names of {@link Place.id} */
export function namesOf(id: string): { instance: string; name: string } {
  const colon = id.indexOf(':')
  return { instance: decodeURIComponent(id.slice(0, colon)), name: decodeURIComponent(id.slice(colon + 1)) }
}
