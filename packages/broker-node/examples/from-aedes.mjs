// A program as one writes it for Aedes, with its one line changed: createBroker comes from Midge.
// Run it:             node from-aedes.mjs
// As one of several:  REDIS_URL=redis://127.0.0.1:6379 PORT=1884 node from-aedes.mjs
import { createServer } from 'node:net'
import { createBroker } from '@midge/broker-node'

const { REDIS_URL: redisUrl, PORT: port = '1883' } = process.env

const broker = await createBroker({
  ...(redisUrl === undefined ? { memory: true } : { redisUrl }),

  authenticate(client, username, password, done) {
    client.tenant = username
    done(null, password?.toString() === 'secret')
  },

  authorizePublish(client, packet, done) {
    if (packet.topic.startsWith('$SYS/')) return done(new Error('reserved'))
    if (client !== null) packet.topic = `${client.tenant}/${packet.topic}`
    done(null)
  },

  authorizeSubscribe(client, subscription, done) {
    subscription.topic = `${client.tenant}/${subscription.topic}`
    done(null, subscription)
  },

  authorizeForward(client, packet) {
    packet.topic = packet.topic.slice(client.tenant.length + 1)
    return packet
  },
})

broker.on('clientReady', client => console.log(`${client.id} of ${client.tenant} is connected`))
broker.on('ack', (packet, client) => console.log(`${client.id} has ${packet.topic ?? packet.cmd}`))

// Happens on the node of the publisher only.
broker.on('publish', (packet, client) => {
  if (client === null || !packet.topic.endsWith('/temperature') || Number(packet.payload) <= 30) return
  broker.publish({ topic: `${client.tenant}/alarm`, payload: 'too hot', qos: 1 }, () => undefined)
})

// Hears the clients of every node.
broker.subscribe('+/alarm', (packet, done) => {
  console.log(`heard ${packet.topic}`)
  done()
})

const server = createServer(broker.handle)
server.listen(Number(port), () => console.log(`listening on ${server.address().port}`))

process.once('SIGTERM', () => {
  server.close()
  broker.close(() => console.log('closed'))
})
