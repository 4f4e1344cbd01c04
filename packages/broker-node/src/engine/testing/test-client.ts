import { Duplex } from 'node:stream'
import type { ProtocolVersion } from '@midge/protocol-core'
import type { ConnectionInfo } from '../../ports.ts'
import type { Client } from '../ground/client.ts'
import { TEST_INFO } from './test-broker.ts'

/** A client of nobody, for those who only pass one on. */
export class TestClient implements Client {
  readonly info: ConnectionInfo = TEST_INFO
  readonly stream: Duplex = new Duplex()
  readonly instance = 'default'
  readonly clientId = 'c'
  readonly username = undefined
  readonly version: ProtocolVersion = 5
  readonly isClean = true
  readonly isEstablished = true
  readonly isClosed = false
  readonly isGone = false
  close(): void {}
}
