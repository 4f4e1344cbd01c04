const DOLLAR = 0x24

/** Topics that one page may look at; what makes a page's time independent of how few of them match. */
export const RETAINED_VISITS_MAX = 10_000

/** Dead children are swept out when they are this many more than a quarter of the living. */
const DEAD_SLACK = 16

/** One page of {@link RetainedIndex.match}; `topics` and `values` run in parallel. */
export interface RetainedMatches<T> {
  topics: string[]
  values: T[]
  /** Pass it to go on; `undefined` when the walk has ended. Opaque, and only of use to the same index. */
  cursor: string | undefined
}

class TopicNode<T> {
  readonly parent: TopicNode<T> | undefined
  readonly key: string
  /** Position among its siblings: grows with every new child of the parent and is never used twice. */
  readonly seq: number
  topicName: string
  value: T | undefined
  hasValue: boolean
  /** False when removed from the parent but not yet swept out of its `order`. */
  isLive: boolean
  children: Map<string, TopicNode<T>> | undefined
  /** Children by ascending `seq`, dead ones among them. */
  order: TopicNode<T>[] | undefined
  nextSeq: number

  constructor(parent: TopicNode<T> | undefined, key: string, seq: number) {
    this.parent = parent
    this.key = key
    this.seq = seq
    this.topicName = ''
    this.value = undefined
    this.hasValue = false
    this.isLive = true
    this.children = undefined
    this.order = undefined
    this.nextSeq = 0
  }
}

/** State of one page. `path` is where the walk stands: the `seq` of every level from the root. */
class Walk<T> {
  readonly levels: string[]
  readonly countMax: number
  readonly resume: number[]
  readonly path: number[]
  readonly page: RetainedMatches<T>
  visits: number
  isFull: boolean

  constructor(levels: string[], resume: number[], countMax: number) {
    this.levels = levels
    this.countMax = countMax
    this.resume = resume
    this.path = []
    this.page = { topics: [], values: [], cursor: undefined }
    this.visits = 0
    this.isFull = false
  }
}

/**
 * The topics that have a retained message, as a tree of levels.
 *
 * A walk goes through it in pages: parents before children, siblings in the order in which they came. The cursor names
 * positions and not topics, so whatever is added or removed between two pages, a topic that is there during the whole
 * walk appears exactly once, and going on costs a binary search per level. A page looks at no more than
 * {@link RETAINED_VISITS_MAX} topics, and may therefore be short or even empty before the walk has ended.
 *
 * Names and filters are what `checkTopicName` and `checkTopicFilter` accepted, which bounds the depth of the recursion.
 */
export class RetainedIndex<T> {
  /** Topics in the index. */
  size: number
  /** Nodes that all walks so far have looked at. */
  visitedNodes: number
  readonly #visitsMax: number
  #root: TopicNode<T>

  /** @param visitsMax - smaller only in tests */
  constructor(visitsMax: number = RETAINED_VISITS_MAX) {
    this.size = 0
    this.visitedNodes = 0
    this.#visitsMax = visitsMax
    this.#root = new TopicNode<T>(undefined, '', 0)
  }

  /** Adds or replaces; a topic that is replaced keeps its place in running walks. */
  set(topicName: string, value: T): void {
    let node = this.#root
    for (const key of topicName.split('/')) node = node.children?.get(key) ?? addChild(node, key)
    if (!node.hasValue) this.size++
    node.hasValue = true
    node.topicName = topicName
    node.value = value
  }

  get(topicName: string): T | undefined {
    return this.#find(topicName)?.value
  }

  /** @returns false when the topic was not there */
  delete(topicName: string): boolean {
    const node = this.#find(topicName)
    if (node === undefined || !node.hasValue) return false
    node.hasValue = false
    node.topicName = ''
    node.value = undefined
    this.size--
    removeEmpty(node)
    return true
  }

  /** Removes all. A walk that is under way shows what is added afterwards, rather than miss it, though it may repeat. */
  clear(): void {
    const { nextSeq } = this.#root
    this.#root = new TopicNode<T>(undefined, '', 0)
    this.#root.nextSeq = nextSeq
    this.size = 0
  }

  /**
   * One page of the topics that match, in the order of the tree.
   *
   * @param topicFilter - without share prefix
   * @param cursor - of the page before, for the same filter; `undefined` to begin
   * @param countMax - at least 1
   * Spec: section 4.7; [MQTT-4.7.2-1] for names that start with '$'.
   */
  match(topicFilter: string, cursor: string | undefined, countMax: number): RetainedMatches<T> {
    const walk = new Walk<T>(topicFilter.split('/'), parseCursor(cursor), countMax)
    this.#walkChildren(walk, this.#root, cursor !== undefined)
    if (walk.isFull) walk.page.cursor = walk.path.join('.')
    return walk.page
  }

  #find(topicName: string): TopicNode<T> | undefined {
    let node: TopicNode<T> | undefined = this.#root
    for (const key of topicName.split('/')) {
      node = node.children?.get(key)
      if (node === undefined) return undefined
    }
    return node
  }

  /** `isResuming`: the cursor leads through this node, so children before it have had their turn. */
  #walkChildren(walk: Walk<T>, node: TopicNode<T>, isResuming: boolean): void {
    const depth = walk.path.length
    // A filter that ends in '#' has no level of its own for what lies below.
    const level = walk.levels[Math.min(depth, walk.levels.length - 1)]
    if (level === undefined || (depth >= walk.levels.length && level !== '#')) return
    const from = isResuming ? (walk.resume[depth] ?? -1) : -1
    if (level !== '+' && level !== '#') {
      const child = node.children?.get(level)
      if (child !== undefined) this.#visit(walk, child, child.seq === from)
      return
    }
    const order = node.order
    if (order === undefined) return
    for (let i = firstAtOrAfter(order, from); i < order.length && !walk.isFull; i++) {
      const child = order[i]
      if (child === undefined || !child.isLive) continue
      if (depth === 0 && child.key.charCodeAt(0) === DOLLAR) continue
      this.#visit(walk, child, child.seq === from)
    }
  }

  #visit(walk: Walk<T>, node: TopicNode<T>, isResuming: boolean): void {
    walk.path.push(node.seq)
    const depth = walk.path.length
    // On the way back to the cursor, and at it, this node has had its turn.
    if (!isResuming) {
      walk.visits++
      this.visitedNodes++
      if (node.hasValue && node.value !== undefined && isEndOf(walk.levels, depth)) {
        walk.page.topics.push(node.topicName)
        walk.page.values.push(node.value)
      }
      walk.isFull = walk.page.topics.length >= walk.countMax || walk.visits >= this.#visitsMax
    }
    // A full walk leaves its path in place, for the cursor.
    if (walk.isFull) return
    this.#walkChildren(walk, node, isResuming)
    if (!walk.isFull) walk.path.pop()
  }
}

/** Whether a topic of `depth` levels, matched so far, is matched as a whole. */
function isEndOf(levels: string[], depth: number): boolean {
  const count = levels.length
  if (depth === count) return true
  // `a/#` matches `a` itself and everything below. Spec: section 4.7.1.2.
  return levels[count - 1] === '#' && depth >= count - 1
}

function parseCursor(cursor: string | undefined): number[] {
  return cursor === undefined || cursor === '' ? [] : cursor.split('.').map(Number)
}

function firstAtOrAfter<T>(order: TopicNode<T>[], seq: number): number {
  let low = 0
  let high = order.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((order[middle]?.seq ?? 0) < seq) low = middle + 1
    else high = middle
  }
  return low
}

function addChild<T>(parent: TopicNode<T>, key: string): TopicNode<T> {
  const child = new TopicNode<T>(parent, key, parent.nextSeq++)
  parent.children ??= new Map()
  parent.order ??= []
  parent.children.set(key, child)
  parent.order.push(child)
  return child
}

function removeEmpty<T>(from: TopicNode<T>): void {
  let node = from
  while (node.parent !== undefined && !node.hasValue && node.children === undefined) {
    const parent = node.parent
    node.isLive = false
    parent.children?.delete(node.key)
    sweepDead(parent)
    node = parent
  }
}

/** Each sweep is paid for by the removals since the last one, so that a removal costs a constant on average. */
function sweepDead<T>(parent: TopicNode<T>): void {
  const { children, order } = parent
  if (children === undefined || order === undefined) return
  if (children.size === 0) {
    parent.children = undefined
    parent.order = undefined
  } else if (order.length - children.size > (children.size >>> 2) + DEAD_SLACK) {
    parent.order = order.filter(child => child.isLive)
  }
}
