import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PACKET_BYTES_MAX } from '../limits.ts'
import type { Properties } from '../packet.ts'
import { encodeConnack } from './encode.ts'
import { fitProperties } from './fit-properties.ts'

const CONNACK_BODY_BYTES = 2
/** Everything that a server may say in CONNACK. */
const everything: Properties = {
  receiveMaximum: 100,
  maximumPacketSize: 4096,
  topicAliasMaximum: 16,
  assignedClientIdentifier: 'assigned',
  responseInformation: 'response/assigned',
  serverReference: 'elsewhere',
  reasonString: 'because',
  userProperties: [['name', 'value']],
}

function connackOf(properties: Properties, packetBytesMax: number): Uint8Array | undefined {
  const kept = fitProperties({ properties, bodyBytes: CONNACK_BODY_BYTES, packetBytesMax })
  return kept === undefined ? undefined : encodeConnack(5, false, 0, kept)
}

test('v5 [MQTT-3.1.2-24] explanations go first, then what has a default, never what has to be said', () => {
  let keys = Object.keys(everything).sort()
  const gone: string[] = []
  let bytesMax = encodeConnack(5, false, 0, everything).length
  assert.deepEqual(fitProperties({ properties: everything, bodyBytes: 2, packetBytesMax: bytesMax }), everything)
  for (;;) {
    const kept = fitProperties({ properties: everything, bodyBytes: CONNACK_BODY_BYTES, packetBytesMax: --bytesMax })
    if (kept === undefined) break
    const left = Object.keys(kept).sort()
    gone.push(...keys.filter(key => !left.includes(key)))
    keys = left
  }
  assert.deepEqual(gone, [
    'reasonString',
    'userProperties',
    'responseInformation',
    'serverReference',
    'topicAliasMaximum',
    'maximumPacketSize',
    'receiveMaximum',
  ])
  assert.deepEqual(keys, ['assignedClientIdentifier'])
  assert.equal(bytesMax + 1, encodeConnack(5, false, 0, { assignedClientIdentifier: 'assigned' }).length)
})

test('whatever comes out is within the bound, and undefined only where the shortest form is not', () => {
  const longText = fc.string({ maxLength: 300 })
  const properties = fc.record({
    responseInformation: longText,
    reasonString: longText,
    receiveMaximum: fc.nat(65_535),
  })
  fc.assert(
    fc.property(properties, fc.integer({ min: 1, max: 700 }), (given, bytesMax) => {
      const frame = connackOf(given, bytesMax)
      if (frame === undefined) assert.ok(bytesMax < encodeConnack(5, false, 0).length)
      else assert.ok(frame.length <= bytesMax, `${frame.length} bytes of ${bytesMax}`)
    }),
  )
})

test('text that no string on the wire can hold is left out, however much the client takes', () => {
  const responseInformation = `response/${'é'.repeat(32_764)}`
  const fitting = { responseInformation: responseInformation.slice(2) }
  assert.deepEqual(fitProperties({ properties: fitting, bodyBytes: 2, packetBytesMax: PACKET_BYTES_MAX }), fitting)
  const frame = connackOf({ responseInformation }, PACKET_BYTES_MAX)
  assert.deepEqual(frame, encodeConnack(5, false, 0))
})
