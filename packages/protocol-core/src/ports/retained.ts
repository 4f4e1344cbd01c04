import type { Message } from '../message.ts'
import type { InstanceName } from './instance-name.ts'

/** One page of {@link RetainedStore.matchRetained}. */
export interface RetainedPage {
  messages: Message[]
  cursor: string | undefined
}

/** Retained messages, for whoever subscribes. Changed by {@link MessageStore.commit}. */
export interface RetainedStore {
  /**
   * One page of retained messages whose topic matches, expired ones left out. Pass the `cursor` of the last page to
   * go on; `undefined` ends. A topic that is there during the whole walk appears exactly once. A page may be short or empty
   * while there is a cursor.
   */
  matchRetained(
    instance: InstanceName,
    topicFilter: string,
    cursor: string | undefined,
    countMax: number,
  ): Promise<RetainedPage>
}
