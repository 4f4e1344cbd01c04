import type { Config } from '../config/schema.ts'
import type { Counters } from '../counters.ts'
import { everythingOf, ProgramSubscriber } from '../engine/aedes/program-subscriber.ts'
import type { BrokerCore } from '../engine/broker-core.ts'
import { AddressBook } from '../outbound/address-book.ts'
import { AddressGuard } from '../outbound/address-guard.ts'
import { HttpCaller } from '../outbound/http-caller.ts'
import type { Logger } from '../ports.ts'
import type { Tenancy } from '../tenancy/tenancy.ts'
import type { ClientLog } from '../views/client-log.ts'
import { Webhooks } from '../webhooks/webhooks.ts'

/** What webhooks are joined to. */
export interface NodeWebhooksParts {
  config: Config
  core: BrokerCore
  tenancy: Tenancy
  log: ClientLog
  counters: Counters
  logger: Logger
}

/**
 * Starts the webhooks of a node that has its records and its engine.
 *
 * @returns ends them
 */
export function startWebhooks({ config, core, tenancy, log, counters, logger }: NodeWebhooksParts): () => void {
  const caller = new HttpCaller(new AddressBook(new AddressGuard(config.outbound.allow)))
  const webhooks = new Webhooks({
    ...{ tenancy, counters, logger, topicLevelsMax: config.limits.topicLevelsMax },
    call: call => caller.call(call),
    nowMs: () => Date.now(),
    watchMessages(instance, topicFilter, tell) {
      const router = core.routers.of(instance)
      // Other nodes are not told of it, and tell of their own messages themselves.
      const subscriber = new ProgramSubscriber(message => {
        if (!core.publisher.isDeliveringRemote) tell(message)
      })
      router.addSubscriber(subscriber, everythingOf(topicFilter))
      return () => router.removeSubscriber(subscriber, topicFilter)
    },
    watchClients: tell =>
      log.follow((instance, { event, seq: _, ...rest }) => {
        if (event === 'connected' || event === 'disconnected') tell(instance, { event: `client.${event}`, ...rest })
      }),
  })
  webhooks.start()
  return () => {
    webhooks.stop()
    caller.close()
  }
}
