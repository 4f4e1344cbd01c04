import { loadScripts, type Script, scriptsFolder } from '../redis/script-files.ts'

/** Every script of the store; the number is that of its KEYS, `n` when it varies. */
export const SCRIPT_NAMES = [
  'ack-group-3',
  'add-retained-2',
  'ack-queue-3',
  'append-group-4',
  'begin-inbound-2',
  'claim-due-3',
  'close-session-11',
  'confirm-due-2',
  'count-retained-1',
  'delete-group-n',
  'discard-wills-2',
  'enqueue-n',
  'expire-retained-3',
  'expire-session-10',
  'finish-inbound-1',
  'forget-inbound-2',
  'forget-tokens-2',
  'held-group-1',
  'join-group-2',
  'list-sessions-3',
  'match-retained-2',
  'open-session-12',
  'read-queue-3',
  'release-group-1',
  'release-queue-2',
  'remove-subscriptions-3',
  'return-group-4',
  'save-subscriptions-3',
  'set-retained-3',
  'take-group-4',
  'take-retained-2',
  'take-session-1',
] as const
export type ScriptName = (typeof SCRIPT_NAMES)[number]

/** Reads all scripts of the store. */
export function storeScripts(): ReadonlyMap<ScriptName, Script> {
  return loadScripts(scriptsFolder(import.meta.url, 'store-redis'), SCRIPT_NAMES)
}
