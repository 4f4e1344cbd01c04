import type { Call, CommandLink } from '../redis/command-link.ts'
import type { ScriptName } from './store-scripts.ts'

export type { Argument } from '../redis/command-link.ts'
export { toBrokerError } from '../redis/errors.ts'

/** One step of the store: a script of its own, or a plain command. */
export type StoreCall = Call<ScriptName>

/** The connection of the store. */
export type RedisLink = CommandLink<ScriptName>
