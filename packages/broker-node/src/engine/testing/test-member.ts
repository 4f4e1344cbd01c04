import { type Message, PacketIdPool, type Subscription, type TakenEntry } from '@midge/protocol-core'
import type { DeliveryForm } from '../ground/delivery-form.ts'
import type { GroupMember } from '../ground/subscriber.ts'
import { ScriptedOutlet } from './scripted-outlet.ts'

/** A member of share groups, and a subscriber, without a session: what it gets is kept. */
export class TestMember implements GroupMember {
  readonly instance = 'default'
  readonly clientId: string
  readonly isStored: boolean
  readonly epoch: number
  readonly outlet: ScriptedOutlet = new ScriptedOutlet()
  readonly subscriptions: Map<string, Subscription> = new Map()
  readonly waiting: Message[] = []
  readonly taken: TakenEntry[] = []
  readonly liveRetained: string[] = []
  windowRoom = 10
  private readonly ids = new PacketIdPool()

  constructor(options: { clientId: string; isStored?: boolean; epoch?: number }) {
    this.clientId = options.clientId
    this.isStored = options.isStored ?? false
    this.epoch = options.epoch ?? 1
  }

  noteLiveRetained(topicName: string): void {
    this.liveRetained.push(topicName)
  }

  takeIdForQos1(): number {
    return this.windowRoom <= 0 ? 0 : this.ids.take()
  }

  sendOrWait(message: Message, form: DeliveryForm): void {
    if (this.windowRoom <= 0) this.waiting.push(message)
    else this.outlet.sendPublish(message, form, this.ids.take())
  }

  reserveGroupIds(countMax: number): number[] {
    const count = Math.min(countMax, this.windowRoom)
    this.windowRoom -= count
    return Array.from({ length: count }, () => this.ids.take())
  }

  returnGroupId(packetId: number): void {
    this.ids.free(packetId)
    this.windowRoom++
  }

  sendTaken(_group: string, entry: TakenEntry): void {
    this.taken.push(entry)
  }
}
