import { z } from 'zod'

const httpUrl = z.url({ protocol: /^https?$/ }).max(2048)

/** Users with passwords that are kept here. */
const usersLogin = z.strictObject({ kind: z.literal('users') })

/** The Common Name of a verified client certificate is the username. */
const certificateLogin = z.strictObject({ kind: z.literal('certificate') })

/** Clients that send neither username nor password; rules of type `anonymous` are theirs. */
const anonymousLogin = z.strictObject({ kind: z.literal('anonymous') })

/** A JSON Web Token in the password. */
const jwtLogin = z.strictObject({
  kind: z.literal('jwt'),
  /** Public keys, by address or in place; or one shared secret for HS256 to HS512. Exactly one. */
  jwksUrl: httpUrl.optional(),
  jwks: z.strictObject({ keys: z.array(z.record(z.string(), z.unknown())).min(1).max(16) }).optional(),
  secret: z.string().min(32).max(1024).optional(),
  algorithms: z
    .array(
      z.enum([
        'RS256',
        'RS384',
        'RS512',
        'PS256',
        'PS384',
        'PS512',
        'ES256',
        'ES384',
        'ES512',
        'EdDSA',
        'HS256',
        'HS384',
        'HS512',
      ]),
    )
    .min(1),
  issuer: z.string().max(1024).optional(),
  audience: z.string().max(1024).optional(),
  /** Claim with the username; the username of CONNECT, if there is one, has to be the same. */
  usernameClaim: z.string().max(128).default('sub'),
  /** Claim that, where it is there, has to be the client id. */
  clientIdClaim: z.string().max(128).default('client_id'),
  /** Claim with rules, `[{ pattern, read, write, … }]`, beside those of the instance. */
  rulesClaim: z.string().max(128).default('acl'),
  /** The connection ends when the token does. */
  disconnectAfterExpiry: z.boolean().default(true),
})
const jwtLoginChecked = jwtLogin
  .refine(({ jwksUrl, jwks, secret }) => [jwksUrl, jwks, secret].filter(keys => keys !== undefined).length === 1, {
    path: ['jwksUrl'],
    message: 'exactly one of jwksUrl, jwks and secret',
  })
  // A public key that is taken for a shared secret would let everybody sign.
  .refine(({ secret, algorithms }) => algorithms.every(name => name.startsWith('HS') === (secret !== undefined)), {
    path: ['algorithms'],
    message: 'HS256 to HS512 with a secret, and only then',
  })

/** An HTTP server decides: 200 with a JSON body allows, 401 or 403 denies. */
const httpLogin = z.strictObject({
  kind: z.literal('http'),
  url: httpUrl,
  /** Sent as `authorization`. */
  authorization: z.string().max(4096).optional(),
  timeoutMs: z.number().int().min(100).max(10_000).default(3000),
})

/** One way into an instance; those of an instance are asked in order, and the first that knows the client decides. */
export const loginSource = z.discriminatedUnion('kind', [
  usersLogin,
  certificateLogin,
  anonymousLogin,
  jwtLoginChecked,
  httpLogin,
])

/** See {@link loginSource}. */
export type LoginSource = z.infer<typeof loginSource>
/** A {@link LoginSource} of one kind. */
export type LoginSourceOf<K extends LoginSource['kind']> = Extract<LoginSource, { kind: K }>
