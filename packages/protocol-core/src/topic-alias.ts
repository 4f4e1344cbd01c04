import { ReasonCode } from './reason-code.ts'

/** Topics seen once that {@link OutboundTopicAliases} remembers at a time. */
const CANDIDATES_MAX = 64

/**
 * Topic Aliases that a client has set on its connection.
 *
 * `T` is what the server keeps per alias, for example the name with its bytes. Spec: v5 section 3.3.2.3.4,
 * [MQTT-3.3.2-7], [MQTT-3.3.2-8], [MQTT-3.3.2-9], [MQTT-3.3.2-12].
 */
export class InboundTopicAliases<T> {
  readonly #aliasMax: number
  #values: (T | undefined)[] | undefined

  /** @param aliasMax - the Topic Alias Maximum of our CONNACK; 0 when the client may use none */
  constructor(aliasMax: number) {
    this.#aliasMax = aliasMax
    this.#values = undefined
  }

  /** Sets or replaces. @returns 0, or 0x94 for alias 0 and one above the maximum */
  set(alias: number, value: T): number {
    if (alias < 1 || alias > this.#aliasMax) return ReasonCode.topicAliasInvalid
    this.#values ??= []
    // Filled from below, so that a client that starts at 65,535 costs an array and not a sparse table.
    while (this.#values.length < alias) this.#values.push(undefined)
    this.#values[alias - 1] = value
    return ReasonCode.success
  }

  /**
   * @returns what the alias stands for; `undefined` when it is out of range (0x94) or was never set (0x82), see
   * {@link InboundTopicAliases.check}
   */
  resolve(alias: number): T | undefined {
    return this.#values?.[alias - 1]
  }

  /** @returns the Reason Code for a PUBLISH with this alias and no Topic Name: 0, 0x94 or 0x82 */
  check(alias: number): number {
    if (alias < 1 || alias > this.#aliasMax) return ReasonCode.topicAliasInvalid
    return this.resolve(alias) === undefined ? ReasonCode.protocolError : ReasonCode.success
  }
}

/**
 * Topic Aliases that the server sets towards a client: for topics sent at least twice, first come first served.
 *
 * Holds at most the client's Topic Alias Maximum of names, and a few candidates until all are given.
 * Spec: v5 [MQTT-3.1.2-26], [MQTT-3.1.2-27].
 */
export class OutboundTopicAliases {
  readonly #aliasMax: number
  #aliases: Map<string, number> | undefined
  #candidates: Set<string> | undefined

  /** @param aliasMax - the Topic Alias Maximum of the CONNECT, or less where the server bounds its memory; 0 for none */
  constructor(aliasMax: number) {
    this.#aliasMax = aliasMax
    this.#aliases = undefined
    this.#candidates = undefined
  }

  /**
   * Decides how to send the next PUBLISH of a topic. To be called only when that packet will certainly be written:
   * a new alias is known to the client from then on.
   *
   * @returns 0: send the name alone; above 0: send this alias and an empty name; below 0: send the name and set the
   * alias of that number without its sign
   */
  assign(topicName: string): number {
    if (this.#aliasMax === 0) return 0
    const known = this.#aliases?.get(topicName)
    if (known !== undefined) return known
    const count = this.#aliases?.size ?? 0
    if (count >= this.#aliasMax) return 0
    if (this.#candidates === undefined || !this.#candidates.delete(topicName)) {
      this.#remember(topicName)
      return 0
    }
    const alias = count + 1
    this.#aliases ??= new Map()
    this.#aliases.set(topicName, alias)
    if (alias === this.#aliasMax) this.#candidates = undefined
    return -alias
  }

  #remember(topicName: string): void {
    this.#candidates ??= new Set()
    // Forgets them all at once: what comes back often is soon a candidate again.
    if (this.#candidates.size >= CANDIDATES_MAX) this.#candidates.clear()
    this.#candidates.add(topicName)
  }
}
