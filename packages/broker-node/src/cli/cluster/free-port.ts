import { createServer } from 'node:net'
import { BrokerError } from '@midge/protocol-core'

/** Finds ports that nobody listens on, all different. */
export async function findFreePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  try {
    const ports = servers.map(
      server =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject)
          server.listen(0, '127.0.0.1', () => {
            const address = server.address()
            if (typeof address === 'object' && address !== null) resolve(address.port)
            else reject(new Error('The system gave no port'))
          })
        }),
    )
    return await Promise.all(ports)
  } finally {
    await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  }
}

/** @throws BrokerError `MIDGE_PORT_IN_USE` when somebody listens there already */
export async function checkPortFree(host: string, port: number, setting: string): Promise<void> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'is in use' : `cannot be had (${error.code})`
      reject(
        new BrokerError('MIDGE_PORT_IN_USE', `Port ${port} on ${host} ${why}; choose another one with ${setting}`, {
          cause: error,
        }),
      )
    })
    server.listen(port, host, () => server.close(() => resolve()))
  })
}
