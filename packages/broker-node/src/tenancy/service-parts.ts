import type { InstanceName } from '@midge/protocol-core'
import type { ControlTables } from './control-tables.ts'
import type { PasswordProof } from './model/user.ts'
import type { RecordConditions } from './record-drafts.ts'
import type { RecordWriter } from './record-writer.ts'

/** Makes of a password what may be kept; slow on purpose. */
export type PasswordProver = (instance: InstanceName, username: string, password: string) => Promise<PasswordProof>

/** What the services of the control plane work with. */
export interface ServiceParts {
  tables: ControlTables
  writer: RecordWriter
  conditions: RecordConditions
  /** Unix time in milliseconds. */
  now: () => number
  prove: PasswordProver
}
