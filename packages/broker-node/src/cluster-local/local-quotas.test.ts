import { quotaContract } from '@midge/protocol-core/testing'
import { LocalQuotas } from './local-quotas.ts'

quotaContract('local', () => Promise.resolve({ quotas: new LocalQuotas(), dispose: () => Promise.resolve() }))
