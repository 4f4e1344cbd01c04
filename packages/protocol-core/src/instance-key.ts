import type { InstanceName } from './ports/instance-name.ts'

/**
 * The key of a thing that has a name within its instance (a client id, a topic filter, a share group) in a table that
 * holds several instances. No instance name has a line break, so no two pairs share a key.
 */
export function instanceKey(instance: InstanceName, name: string): string {
  return `${instance}\n${name}`
}
