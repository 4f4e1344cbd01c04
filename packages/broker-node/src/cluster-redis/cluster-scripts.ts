import { loadScripts, type Script, scriptsFolder } from '../redis/script-files.ts'

/** Every script of the cluster; the number is that of its KEYS, `n` when it varies. */
export const CLUSTER_SCRIPTS = [
  'alive-nodes-2',
  'beat-node-3',
  'drop-slots-1',
  'free-slots-n',
  'keep-slots-1',
  'lease-tokens-n',
  'leave-node-3',
  'read-table-2',
  'reap-node-3',
  'register-node-3',
  'take-slots-n',
  'write-records-4',
  'write-table-4',
] as const
export type ClusterScript = (typeof CLUSTER_SCRIPTS)[number]

/** Reads all scripts of the cluster. */
export function clusterScripts(): ReadonlyMap<ClusterScript, Script> {
  return loadScripts(scriptsFolder(import.meta.url, 'cluster-redis'), CLUSTER_SCRIPTS)
}
