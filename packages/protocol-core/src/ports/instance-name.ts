/** Name of an instance (tenant); a set-up with one instance uses {@link DEFAULT_INSTANCE}. */
export type InstanceName = string

/** The instance of a set-up that knows no other. */
export const DEFAULT_INSTANCE: InstanceName = 'default'
