/*
 * Contract suites: what every adapter of a port has to pass; they run on `node:test`. And rules that tests judge by.
 */

export { matches } from '../topic-filter.ts'
export { type DirectoryUnderTest, directoryContract, type MakeDirectory } from './directory-contract.ts'
export { type MakeQuotas, type QuotasUnderTest, quotaContract } from './quota-contract.ts'
export { type MakeRecords, type RecordsUnderTest, recordStoreContract } from './record-store-contract.ts'
export { storeContract } from './store-contract.ts'
export { CONTRACT_LIMITS, type MakeStore, type StoreUnderTest } from './store-fixture.ts'
