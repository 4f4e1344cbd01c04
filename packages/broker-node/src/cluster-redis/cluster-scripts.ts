import { loadScripts, type Script, scriptsFolder } from '../redis/script-files.ts'

/** Every script of the cluster; the number is that of its KEYS. */
export const CLUSTER_SCRIPTS = [
  'beat-node-3',
  'leave-node-3',
  'read-table-2',
  'reap-node-3',
  'register-node-3',
  'write-records-4',
  'write-table-4',
] as const
export type ClusterScript = (typeof CLUSTER_SCRIPTS)[number]

/** Reads all scripts of the cluster. */
export function clusterScripts(): ReadonlyMap<ClusterScript, Script> {
  return loadScripts(scriptsFolder(import.meta.url, 'cluster-redis'), CLUSTER_SCRIPTS)
}
