import type { Config } from '../config/schema.ts'
import { InstancePorts, type InstancePortsOptions } from '../listeners/instance-ports.ts'
import type { Instance } from '../tenancy/model/instance.ts'
import type { Tenancy } from '../tenancy/tenancy.ts'
import { instanceListeners } from './listener-plan.ts'

/** Instances are looked through in pages of this size at the start. */
const PAGE_COUNT = 500

/**
 * Opens the ports of every instance that has some, and follows their coming and going.
 *
 * @returns when all are open or have failed
 */
export async function openInstancePorts(
  config: Pick<Config, 'instances' | 'listeners' | 'limits'>,
  tenancy: Tenancy,
  rest: Omit<InstancePortsOptions, 'kinds'>,
): Promise<InstancePorts> {
  const ports = new InstancePorts({ ...rest, kinds: instanceListeners(config) })
  tenancy.observe({
    onInstance: (before, after) => {
      if (before?.portBase === after?.portBase) return
      if (before !== undefined && before.portBase !== null) void ports.close(before.portBase)
      void openFor(ports, after)
    },
  })
  let after: string | undefined
  do {
    const page = tenancy.instances.list({ countMax: PAGE_COUNT, ...(after === undefined ? {} : { after }) })
    await Promise.all(page.items.map(instance => openFor(ports, instance)))
    after = page.cursor
  } while (after !== undefined)
  return ports
}

async function openFor(ports: InstancePorts, instance: Instance | undefined): Promise<void> {
  if (instance !== undefined && instance.portBase !== null) await ports.open(instance.id, instance.portBase)
}
