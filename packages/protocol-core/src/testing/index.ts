/*
 * Contract suites: what every adapter of a port has to pass. They run on `node:test`.
 */

export { type DirectoryUnderTest, directoryContract, type MakeDirectory } from './directory-contract.ts'
export { storeContract } from './store-contract.ts'
export { CONTRACT_LIMITS, type MakeStore, type StoreUnderTest } from './store-fixture.ts'
