import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AddressGuard } from './address-guard.ts'

const PUBLIC = ['1.1.1.1', '93.184.216.34', '172.32.0.1', '223.255.255.255', '2606:4700::1111', '2a00:1450:4001::1']
const PRIVATE = [
  '0.0.0.0',
  '10.1.2.3',
  '100.100.100.200',
  '127.0.0.1',
  '127.8.8.8',
  '168.63.129.16',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  'fe80::1',
  'fe80::1%eth0',
  'fd00:ec2::254',
  'ff02::1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::127.0.0.1',
  '64:ff9b::7f00:1',
  '2002:7f00:1::',
  '2001:0:7f00:1::',
  'localhost',
  '',
]

test('public addresses are allowed, all others are not', () => {
  const guard = new AddressGuard([])
  for (const address of PUBLIC) assert.ok(guard.allowsAddress(address), address)
  for (const address of PRIVATE) assert.ok(!guard.allowsAddress(address), address)
})

test('what an operator names is allowed, and nothing beside it', () => {
  const guard = new AddressGuard(['10.1.0.0/16', '127.0.0.1', 'fd00::/8', 'auth.svc', '10.0.0.0/99'])
  for (const address of ['10.1.255.1', '127.0.0.1', '::ffff:127.0.0.1', 'fd12::1']) {
    assert.ok(guard.allowsAddress(address), address)
  }
  for (const address of ['10.2.0.1', '127.0.0.2', 'fe80::1', '10.0.0.1']) {
    assert.ok(!guard.allowsAddress(address), address)
  }
  assert.ok(guard.trustsHost('AUTH.svc.'))
  assert.ok(!guard.trustsHost('other.auth.svc'))
})
