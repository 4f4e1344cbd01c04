import { HashQueue, Standing } from '../admission/hash-queue.ts'
import { hashPassword, verifyPassword } from '../admission/password-hash.ts'
import { UserPermissions } from '../admission/user-permissions.ts'
import type { ApiParts } from '../api/api-parts.ts'
import { mountApi } from '../api/mount-api.ts'
import type { Config } from '../config/schema.ts'
import type { Counters } from '../counters.ts'
import type { HttpMount } from '../http/server.ts'
import { MIDGE_VERSION } from '../lifecycle/version.ts'
import type { RunningListener } from '../listeners/options.ts'
import type { Logger } from '../ports.ts'
import type { ClusterViews } from '../views/cluster-views.ts'
import type { TenancyParts } from './node-tenancy.ts'

/** What the API of a node is made of. */
export interface NodeApiParts {
  config: Config
  tenancy: TenancyParts
  views: ClusterViews
  counters: Counters
  logger: Logger
  /** Grows while the node starts. */
  listeners: readonly RunningListener[]
  /** False until the control plane has been read. */
  isStarted(): boolean
}

/** Passwords of the API that are hashed at one time: few, because the threads are those of the logins by MQTT. */
const HASHES_RUNNING_MAX = 1
const HASHES_WAITING_MAX = 64

/** @returns what puts the API on the HTTP server */
export function nodeApi(parts: NodeApiParts): HttpMount {
  const { config, tenancy, views, logger, listeners, isStarted } = parts
  const { plane } = tenancy
  const api: ApiParts = {
    ...{ tenancy: plane, views, logger, isStarted },
    explain: (instance, client, question) => new UserPermissions(plane.tables.of(instance), client).decide(question),
    passwordMatches: passwordComparison(parts),
    listeners: () => listeners.map(({ kind, address }) => ({ transport: kind, port: address.port })),
    ...{ nodeId: config.nodeId, version: MIDGE_VERSION, now: () => Date.now() },
  }
  return app => mountApi(app, api)
}

function passwordComparison({ config: { auth }, counters }: NodeApiParts): ApiParts['passwordMatches'] {
  const queue = new HashQueue({
    runningMax: HASHES_RUNNING_MAX,
    waitingMax: HASHES_WAITING_MAX,
    waitMsMax: auth.hashWaitMsMax,
    counters,
    now: () => performance.now(),
  })
  let nobody: Promise<string> | undefined
  return (hash, password, address) => {
    const claim = {
      ...{ network: address, bytes: password.length },
      standing: () => Standing.fresh,
      isWanted: () => true,
    }
    return queue.run(claim, async () => {
      nobody ??= hashPassword('nobody has this password')
      const isRight = await verifyPassword(hash ?? (await nobody), Buffer.from(password))
      return isRight && hash !== undefined
    })
  }
}
