import { DEFAULT_INSTANCE } from '@midge/protocol-core'
import type { Actor } from '../tenancy/tenancy.ts'
import type { ApiParts } from './api-parts.ts'

/** Removes an instance with all that it has in the cluster; can be asked for again when it failed half-way. */
export async function removeInstance({ tenancy, views }: ApiParts, instance: string, actor: Actor): Promise<void> {
  const { instances } = tenancy
  // Suspended first: nobody may come in again and leave a session behind.
  if (instance !== DEFAULT_INSTANCE) {
    await instances.change(instance, { state: 'suspended' }, actor)
    await views.wipe(instance)
  }
  await instances.remove(instance, actor)
}
