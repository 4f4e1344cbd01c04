import type { Call as AnyCall, CommandLink } from '../redis/command-link.ts'
import type { ScriptName } from './scripts.ts'

export type { Argument } from '../redis/command-link.ts'
export { toBrokerError } from '../redis/errors.ts'

/** One step of the store: a script of its own, or a plain command. */
export type Call = AnyCall<ScriptName>

/** The connection of the store. */
export type RedisLink = CommandLink<ScriptName>
