import { FilterChanges } from './filter-changes.ts'
import { hasWildcard } from './topic-filter.ts'

const DOLLAR = 0x24

/** One Topic Filter that has entries, as {@link FilterIndex.matchInto} hands it out. Not to be changed by callers. */
export class FilterNode<K, V> {
  readonly filter: string
  readonly entries: Map<K, V>
  /** Unique in its index over time: a filter that left and came back has a higher one than before. */
  version: number

  constructor(filter: string) {
    this.filter = filter
    this.entries = new Map()
    this.version = 0
  }
}

/** One level of the wildcard filters. Exists only while a filter ends at it or below it. */
class Level<K, V> {
  readonly parent: Level<K, V> | undefined
  /** The literal text of this level; '+' for the `plus` child of its parent. */
  readonly key: string
  children: Map<string, Level<K, V>> | undefined
  plus: Level<K, V> | undefined
  /** The filter that ends here. */
  node: FilterNode<K, V> | undefined
  /** The filter that ends here with one more level, '#'. */
  hash: FilterNode<K, V> | undefined

  constructor(parent: Level<K, V> | undefined, key: string) {
    this.parent = parent
    this.key = key
    this.children = undefined
    this.plus = undefined
    this.node = undefined
    this.hash = undefined
  }
}

/**
 * Topic Filters and who is behind them: the subscribers of a node, the routes of a cluster.
 *
 * Finds the filters that match a topic without looking at the others: exact filters by one look-up, wildcard filters
 * along a tree of their levels, at most two branches a level. Filters are what `checkTopicFilter` accepted, without
 * `$share/<group>/`; that check bounds the depth of the recursion.
 *
 * Every change is reported to {@link FilterIndex.changes}, which several indexes may share, so that one `MatchCache`
 * can hold answers made from all of them.
 */
export class FilterIndex<K, V> {
  readonly changes: FilterChanges
  /** Pairs of filter and key. */
  size: number
  /** Levels of the tree that all matches so far have looked at: what a match costs beside the exact look-up. */
  visitedLevels: number
  // A topic name has no wildcard, so that one map of all filters is also the map of exact ones.
  readonly #nodes: Map<string, FilterNode<K, V>>
  readonly #root: Level<K, V>
  #version: number

  constructor(changes: FilterChanges = new FilterChanges()) {
    this.changes = changes
    this.size = 0
    this.visitedLevels = 0
    this.#nodes = new Map()
    this.#root = new Level(undefined, '')
    this.#version = 0
  }

  /** The number of different filters. */
  get filterCount(): number {
    return this.#nodes.size
  }

  /** Grows with every change of any wildcard filter of the indexes that share `changes`. */
  get wildcardVersion(): number {
    return this.changes.wildcardVersion
  }

  /**
   * Adds or replaces one entry; replacing by the same value counts as a change, for callers that alter it in place.
   * @returns true when the filter had no entry before
   */
  add(topicFilter: string, key: K, value: V): boolean {
    let node = this.#nodes.get(topicFilter)
    const isNew = node === undefined
    if (node === undefined) {
      node = new FilterNode(topicFilter)
      this.#nodes.set(topicFilter, node)
      if (hasWildcard(topicFilter)) this.#insert(node)
    }
    const before = node.entries.size
    node.entries.set(key, value)
    this.size += node.entries.size - before
    this.#changed(node)
    return isNew
  }

  /** @returns true when this removed the last entry of the filter; false also when there was nothing to remove */
  remove(topicFilter: string, key: K): boolean {
    const node = this.#nodes.get(topicFilter)
    if (node === undefined || !node.entries.delete(key)) return false
    this.size--
    const isEmpty = node.entries.size === 0
    if (isEmpty) {
      this.#nodes.delete(topicFilter)
      if (hasWildcard(topicFilter)) this.#prune(topicFilter)
    }
    this.#changed(node)
    return isEmpty
  }

  /** @returns the value of one entry */
  get(topicFilter: string, key: K): V | undefined {
    return this.#nodes.get(topicFilter)?.entries.get(key)
  }

  /** @returns the node of this very filter, be it exact or not; no matching */
  node(topicFilter: string): FilterNode<K, V> | undefined {
    return this.#nodes.get(topicFilter)
  }

  /** @returns the node of the filter that equals the topic; for caches that check its `version` themselves */
  exactNode(topicName: string): FilterNode<K, V> | undefined {
    return this.#nodes.get(topicName)
  }

  /** All filters in the order of their first entry; entries and filters may be removed on the way. */
  nodes(): IterableIterator<FilterNode<K, V>> {
    return this.#nodes.values()
  }

  /**
   * Appends the node of every filter that matches, each once, in no promised order.
   * Spec: section 4.7; [MQTT-4.7.2-1] for names that start with '$'.
   */
  matchInto(topicName: string, out: FilterNode<K, V>[]): void {
    const exact = this.#nodes.get(topicName)
    if (exact !== undefined) out.push(exact)
    const root = this.#root
    if (topicName.charCodeAt(0) === DOLLAR) {
      this.#visitLiteral(root, topicName, 0, out)
    } else if (root.children !== undefined || root.plus !== undefined || root.hash !== undefined) {
      this.#visit(root, topicName, 0, out)
    }
  }

  /** `start` is where the next level of the name begins; beyond its end when there is none. */
  #visit(level: Level<K, V>, topicName: string, start: number, out: FilterNode<K, V>[]): void {
    this.visitedLevels++
    // Before the end is looked at, because `a/#` matches `a` too. Spec: section 4.7.1.2.
    if (level.hash !== undefined) out.push(level.hash)
    if (start > topicName.length) {
      if (level.node !== undefined) out.push(level.node)
      return
    }
    if (level.plus !== undefined) this.#visit(level.plus, topicName, levelEnd(topicName, start) + 1, out)
    this.#visitLiteral(level, topicName, start, out)
  }

  #visitLiteral(level: Level<K, V>, topicName: string, start: number, out: FilterNode<K, V>[]): void {
    if (level.children === undefined) return
    const end = levelEnd(topicName, start)
    const child = level.children.get(topicName.slice(start, end))
    if (child !== undefined) this.#visit(child, topicName, end + 1, out)
  }

  #changed(node: FilterNode<K, V>): void {
    node.version = ++this.#version
    this.changes.note(node.filter)
  }

  #insert(node: FilterNode<K, V>): void {
    let level = this.#root
    for (const key of node.filter.split('/')) {
      if (key === '#') {
        level.hash = node
        return
      }
      level = childOf(level, key) ?? addChild(level, key)
    }
    level.node = node
  }

  #prune(topicFilter: string): void {
    let level: Level<K, V> | undefined = this.#root
    for (const key of topicFilter.split('/')) {
      if (level === undefined) return
      if (key === '#') {
        level.hash = undefined
        removeEmpty(level)
        return
      }
      level = childOf(level, key)
    }
    if (level === undefined) return
    level.node = undefined
    removeEmpty(level)
  }
}

function levelEnd(text: string, from: number): number {
  const end = text.indexOf('/', from)
  return end < 0 ? text.length : end
}

function childOf<K, V>(level: Level<K, V>, key: string): Level<K, V> | undefined {
  return key === '+' ? level.plus : level.children?.get(key)
}

function addChild<K, V>(level: Level<K, V>, key: string): Level<K, V> {
  const child = new Level(level, key)
  if (key === '+') level.plus = child
  else {
    level.children ??= new Map()
    level.children.set(key, child)
  }
  return child
}

function removeEmpty<K, V>(from: Level<K, V>): void {
  let level = from
  while (
    level.parent !== undefined &&
    level.node === undefined &&
    level.hash === undefined &&
    level.plus === undefined &&
    level.children === undefined
  ) {
    const parent = level.parent
    if (level.key === '+') parent.plus = undefined
    else {
      parent.children?.delete(level.key)
      if (parent.children?.size === 0) parent.children = undefined
    }
    level = parent
  }
}
