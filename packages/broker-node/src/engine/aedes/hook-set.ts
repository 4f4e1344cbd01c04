import type { AedesOptions } from 'aedes'

/** The hooks of Aedes, with Aedes' signatures. */
export type AedesHookSet = Required<
  Pick<
    AedesOptions,
    'preConnect' | 'authenticate' | 'authorizePublish' | 'authorizeSubscribe' | 'authorizeForward' | 'published'
  >
>

/** Their names. */
export const HOOK_NAMES: readonly (keyof AedesHookSet)[] = [
  'preConnect',
  'authenticate',
  'authorizePublish',
  'authorizeSubscribe',
  'authorizeForward',
  'published',
]

/** The hooks among other options; what is absent stays absent. */
export function pickHooks(options: Partial<AedesHookSet>): Partial<AedesHookSet> {
  const given = HOOK_NAMES.filter(name => options[name] !== undefined)
  return Object.fromEntries(given.map(name => [name, options[name]]))
}
