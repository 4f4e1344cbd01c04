/** Why an event did not reach a webhook. */
export const WebhookDropReason = {
  /** Too much waited for this webhook, or for all webhooks of the node. */
  backlogFull: 'backlog_full',
  /** The server answered that it does not want it, or is at an address that is not allowed. */
  refused: 'refused',
  /** Every attempt failed. */
  unreachable: 'unreachable',
  /** It waited longer than it is of use. */
  tooOld: 'too_old',
  /** The webhook was changed or removed, or the node stopped. */
  stopped: 'stopped',
} as const
export type WebhookDropReason = (typeof WebhookDropReason)[keyof typeof WebhookDropReason]
