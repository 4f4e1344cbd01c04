/**
 * Every Redis key and channel of the cluster, in one place; `docs/redis-keys-cluster.md` describes each.
 *
 * The registry and both tables share the hash tag `{cluster}`, because the script that writes a table also reads who
 * is alive: that is what makes the SUBACK barrier exact. Inboxes carry the load and have a tag each.
 */
export class ClusterKeys {
  private readonly prefix: string

  /** @param prefix - put in front of every key and channel, for several clusters on one Redis */
  constructor(prefix: string) {
    this.prefix = prefix
  }

  /** ZSET: node id → time of its last heartbeat, ms of Redis' clock. */
  nodes(): string {
    return `${this.prefix}{cluster}:nodes`
  }

  /** HASH: node id → token of the process that may beat for it. */
  nodeOwners(): string {
    return `${this.prefix}{cluster}:node-owners`
  }

  /** HASH: node id → JSON that the node wrote with its last heartbeat. */
  nodeInfo(): string {
    return `${this.prefix}{cluster}:node-info`
  }

  /** HASH: the rows of a replicated table. */
  table(name: string): string {
    return `${this.prefix}{cluster}:table:${name}`
  }

  /** HASH: epoch, version, and per node the last batch it wrote. */
  tableMeta(name: string): string {
    return `${this.prefix}{cluster}:table:${name}:meta`
  }

  /** STREAM: the last changes of a table; an entry's id is `<version>-0`. */
  tableLog(name: string): string {
    return `${this.prefix}{cluster}:table:${name}:log`
  }

  /** STREAM: frames for one node. */
  inbox(nodeId: string): string {
    return `${this.prefix}inbox:{${encodeURIComponent(nodeId)}}`
  }

  /** HASH: who is counted under a limit of an instance → the process that holds it, and its claim. */
  slots(instance: string, kind: string): string {
    return `${this.prefix}{q:${encodeURIComponent(instance)}}:slots:${encodeURIComponent(kind)}`
  }

  /** HASH: what a bucket of an instance held, and when. */
  bucket(instance: string, bucket: string): string {
    return `${this.prefix}{q:${encodeURIComponent(instance)}}:bucket:${encodeURIComponent(bucket)}`
  }

  /** Channel of the control bus: `all` for everybody, `node:<id>` for one node. */
  bus(topic: string): string {
    return `${this.prefix}bus:${topic}`
  }
}
