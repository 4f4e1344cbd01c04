import type { SecretStore } from '@midge/protocol-core'
import { verifyPassword } from '../admission/password-hash.ts'
import { PasswordProofs } from '../admission/password-proofs.ts'
import type { Config } from '../config/schema.ts'
import type { Bootstrap } from '../lifecycle/bootstrap.ts'
import type { Logger } from '../ports.ts'
import { ControlPlane } from '../tenancy/control-plane.ts'
import { ensureFirstInstance, type SecretsInForce } from '../tenancy/first-instance.ts'
import type { Backing } from './backing.ts'

/** Name of the key in the store that the salts of SCRAM are made from, and its length. */
const SALT_KEY = { name: 'scram-salts', bytesCount: 32 }

/** The control plane of a node, and what it needs to keep passwords. */
export interface TenancyParts {
  plane: ControlPlane
  proofs: PasswordProofs
}

/** Empty until {@link startTenancy}. */
export function createTenancy(config: Config, backing: Backing, logger: Logger): TenancyParts {
  const proofs = new PasswordProofs()
  const plane = new ControlPlane({
    records: backing.records,
    prove: (instance, username, password) => proofs.prove(instance, username, password),
    portBases: {
      min: config.instances.portBaseMin,
      max: config.instances.portBaseMax,
      reserved: new Set([...Object.values(config.listeners).flat(), config.http].map(({ port }) => port)),
    },
    now: () => Date.now(),
    onUnreadable: key => {
      const fields = { event: 'record.unreadable', record: key.replaceAll('\0', '/').slice(0, 128) }
      logger.error(fields, 'a record of the control plane cannot be read and is left out')
    },
    onLost: write => {
      backing.patiently('write lost records again', write).then(
        () => logger.warn({ event: 'records.restored' }, 'the store had lost all records; they are written again'),
        (error: unknown) => logger.error({ event: 'records.restore_failed', err: error }, 'the store has no records'),
      )
    },
  })
  return { plane, proofs }
}

/** Reads everything back, and makes what a first start makes. Waits for the store as long as it takes. */
export async function startTenancy(
  { plane, proofs }: TenancyParts,
  backing: Backing,
  { bootstrap, nodeId }: { bootstrap: Bootstrap; nodeId: string },
): Promise<SecretsInForce> {
  const secrets: SecretStore = backing.secrets
  proofs.useSaltKey(await secrets.secret(SALT_KEY.name, SALT_KEY.bytesCount))
  await plane.start()
  const first = {
    username: bootstrap.username,
    password: bootstrap.password,
    isPasswordConfigured: !bootstrap.isPasswordGenerated,
    apiKey: bootstrap.apiKey,
    isApiKeyConfigured: !bootstrap.isApiKeyGenerated,
  }
  const verify = (hash: string, password: string): Promise<boolean> => verifyPassword(hash, Buffer.from(password))
  return backing.patiently('make the first instance', async () => {
    const inForce = await ensureFirstInstance(plane, first, { actor: { kind: 'node', id: nodeId }, verify })
    await plane.instances.sweep()
    return inForce
  })
}
