import { RouteInterest } from '@midge/protocol-core'
import { startNode } from './test-node.ts'

/*
 * A node as a process of its own, for tests that kill or stop one: `node node-process.js <redis url> <node id>
 * [count]`. It wants `from/<node id>`, holds `count` connections of the instance `acme`, which may have 10, answers every message with one to the sender's node, and speaks lines on stdout.
 */

const [, , url = '', nodeId = '', count = '0'] = process.argv
const node = await startNode(url, nodeId)
node.cluster.directory.setRoute('default', `from/${nodeId}`, RouteInterest.all)
await node.cluster.directory.settled()
node.onMessage = message => {
  const to = message.topicName.split('/')[1] ?? ''
  node.cluster.link.send(to, 'default', message, [])
}
for (let n = 0; n < Number(count); n++) {
  const limits = [{ kind: 'connections', max: 10 }]
  await node.cluster.quotas.takeSlots({ instance: 'acme', name: `${nodeId}${n}`, claim: '1', limits })
}
console.log('ready')
process.on('SIGTERM', () => void node.stop().then(() => process.exit(0)))
