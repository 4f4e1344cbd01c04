import { DEFAULT_INSTANCE } from '@midge/protocol-core'
import { Counters } from '../../counters.ts'
import type { Claim } from '../../ports.ts'
import { type Instance, instance } from '../../tenancy/model/instance.ts'
import type { InstanceFinder } from '../choose-instance.ts'
import { HashQueue, type HashQueueOptions } from '../hash-queue.ts'
import { LoginHistory, type LoginHistoryOptions } from '../login-history.ts'

/** The claim of a client that sends nothing but its id. */
export function claimOf(claim: Partial<Claim>, remoteAddress = '127.0.0.1'): Claim {
  return {
    instance: DEFAULT_INSTANCE,
    info: {
      connectionId: '1',
      transport: 'tcp',
      remoteAddress,
      remotePort: 50_000,
      localAddress: '127.0.0.1',
      localPort: 1883,
      serverName: undefined,
      host: undefined,
      path: undefined,
      certCommonName: undefined,
    },
    protocolVersion: 4,
    clientId: 'c',
    username: undefined,
    password: undefined,
    method: undefined,
    packetBytes: 50,
    caller: { isGone: false },
    ...claim,
  }
}

/** Instances of these names, with the settings of a new one where nothing else is said. */
export function instancesOf(changes: Readonly<Record<string, Partial<Instance>>> = { default: {} }): InstanceFinder {
  return {
    instances: {
      get: id => {
        const change = changes[id]
        if (change === undefined) return undefined
        const name = { id, number: 1, name: id, plan: 'unlimited', createdAtMs: 0, defaultUser: 'midge', settings: {} }
        return instance.parse({ ...name, ...change })
      },
    },
    findByHost: host => Object.keys(changes).find(id => changes[id]?.hosts?.includes(host)),
  }
}

/** A queue of one job at a time. */
export function queueOf(options: Partial<HashQueueOptions> = {}): HashQueue {
  return new HashQueue({
    runningMax: 1,
    waitingMax: 1000,
    waitMsMax: 60_000,
    counters: new Counters(),
    now: () => performance.now(),
    ...options,
  })
}

/** A history that has nothing to tell yet. */
export function historyOf(options: Partial<LoginHistoryOptions> = {}): LoginHistory {
  return new LoginHistory({ failuresMax: 5, backOffMsMax: 60_000, now: () => performance.now(), ...options })
}
