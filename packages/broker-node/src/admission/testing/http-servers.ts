import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { AddressBook } from '../../outbound/address-book.ts'
import { AddressGuard } from '../../outbound/address-guard.ts'
import { HttpCaller } from '../../outbound/http-caller.ts'

const closers: (() => void)[] = []

/** Ends what the others here have started. */
export function closeServers(): void {
  for (const close of closers) close()
}

/** An HTTP server on this machine. @returns its address */
export async function serveHttp(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(handler).listen(0, '127.0.0.1')
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return `http://127.0.0.1:${address.port}/`
}

/** Whoever may call this machine. */
export function localCaller(): HttpCaller {
  const caller = new HttpCaller(new AddressBook(new AddressGuard(['127.0.0.1'])))
  closers.push(() => caller.close())
  return caller
}
