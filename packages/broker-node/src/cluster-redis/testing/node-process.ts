import { RouteInterest } from '@midge/protocol-core'
import { startNode } from './test-node.ts'

/*
 * A node as a process of its own, for tests that kill or stop one: `node node-process.js <redis url> <node id>`.
 * It wants `from/<node id>`, answers every message with one to the sender's node, and speaks lines on stdout.
 */

const [, , url = '', nodeId = ''] = process.argv
const node = await startNode(url, nodeId)
node.cluster.directory.setRoute('default', `from/${nodeId}`, RouteInterest.all)
await node.cluster.directory.settled()
node.onMessage = message => {
  const to = message.topicName.split('/')[1] ?? ''
  node.cluster.link.send(to, 'default', message, [])
}
console.log('ready')
process.on('SIGTERM', () => void node.stop().then(() => process.exit(0)))
