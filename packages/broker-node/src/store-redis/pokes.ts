import type { StoreListener } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'
import type { ListenerLink } from '../redis/listener-link.ts'
import { namesOf } from './store-keys.ts'

/**
 * The channel on which this node hears that other nodes have appended to queues of its sessions. Every hint may be
 * lost, so each new subscription tells the listener to look at all queues.
 */
export class Pokes {
  private readonly logger: Logger
  private listener: StoreListener | undefined
  private subscriptions = 0
  /** Resolves with the first subscription. */
  readonly ready: Promise<void>

  constructor(link: ListenerLink, channel: string, logger: Logger) {
    this.logger = logger
    this.ready = new Promise(resolve => {
      link.listen(channel, true, {
        onMessage: message => this.hear(message.toString()),
        onListening: () => {
          resolve()
          if (++this.subscriptions > 1) this.listener?.onReconnected()
        },
      })
    })
  }

  setListener(listener: StoreListener | undefined): void {
    this.listener = listener
  }

  private hear(text: string): void {
    try {
      for (const line of text.split('\n')) {
        const space = line.lastIndexOf(' ')
        const { instance, name: clientId } = namesOf(line.slice(0, space))
        this.listener?.onQueueGrew(instance, clientId, Number(line.slice(space + 1)))
      }
    } catch (error) {
      // Anybody who may use this Redis can publish here; a hint is not worth the process.
      this.logger.warn(
        { event: 'store.poke_ignored', error: String(error) },
        'a message on the poke channel is not ours',
      )
    }
  }
}
