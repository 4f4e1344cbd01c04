import { z } from 'zod'
import type { ApiRoute } from './api-route.ts'
import { pathNames } from './model/path-names.ts'
import { problem } from './model/problem.ts'

/** As far as the page of documentation looks into it. */
export interface OpenApiOperation {
  operationId: string
  tags: string[]
  summary: string
  /** Access of the key that is needed. */
  'x-access': string
  parameters: { name: string; in: 'path' | 'query'; required: boolean; description?: string; schema: JsonSchema }[]
  requestBody?: { required: true; content: Record<string, { schema: JsonSchema }> }
  responses: Record<
    string,
    { description: string; content?: Record<string, { schema: JsonSchema }> } | { $ref: string }
  >
}

/** A JSON Schema of draft 2020-12. */
export type JsonSchema = Readonly<Record<string, unknown>>

/** An OpenAPI 3.1 document. */
export interface OpenApiDocument {
  openapi: '3.1.0'
  info: { title: string; version: string; description: string }
  servers: { url: string }[]
  security: Record<string, string[]>[]
  tags: { name: string }[]
  paths: Record<string, Record<string, OpenApiOperation>>
  components: Record<string, Record<string, unknown>>
}

const DESCRIPTION = [
  'Every request needs a key: `Authorization: Bearer KEY`, or Basic with an empty user name and the key as password.',
  "A key of one instance sees that instance alone; all others are 404. Operators' keys see everything.",
  'Errors are problem documents (RFC 9457) with a stable `code`.',
].join('\n\n')

/** The document of these routes, made from the schemas that they are held to. */
export function openApiOf(routes: readonly ApiRoute[], { version }: { version: string }): OpenApiDocument {
  const paths: OpenApiDocument['paths'] = {}
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}')
    paths[path] ??= {}
    paths[path][route.method.toLowerCase()] = operationOf(route)
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Midge', version, description: DESCRIPTION },
    servers: [{ url: '/api/v1' }],
    security: [{ bearer: [] }, { basic: [] }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map(name => ({ name })),
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' }, basic: { type: 'http', scheme: 'basic' } },
      schemas: { Problem: schemaOf(problem, 'output') },
      responses: {
        Problem: {
          description: 'What went wrong',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
    },
  }
}

function operationOf(route: ApiRoute): OpenApiOperation {
  const { body, bodyType, status, answer, streamType } = route
  const content =
    answer !== undefined
      ? { 'application/json': { schema: schemaOf(answer, 'output') } }
      : streamType !== undefined
        ? { [streamType]: { schema: { type: 'string' } } }
        : undefined
  return {
    operationId: operationIdOf(route),
    tags: [route.tag],
    summary: route.summary,
    'x-access': route.access,
    parameters: parametersOf(route),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { [bodyType]: { schema: schemaOf(body, 'input') } } } }),
    responses: {
      [status]: { description: 'Done', ...(content === undefined ? {} : { content }) },
      default: { $ref: '#/components/responses/Problem' },
    },
  }
}

function operationIdOf({ method, path }: ApiRoute): string {
  const words = path.split(/[^A-Za-z]+/).filter(word => word !== '')
  return method.toLowerCase() + words.map(word => word.charAt(0).toUpperCase() + word.slice(1)).join('')
}

function parametersOf({ path, query }: ApiRoute): OpenApiOperation['parameters'] {
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => ({
    name,
    in: 'path' as const,
    required: true,
    schema: schemaOf(pathNames[name] ?? z.string(), 'input'),
  }))
  const { properties = {}, required = [] } = z.toJSONSchema(query, { io: 'input', unrepresentable: 'any' })
  const inQuery = Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query' as const,
    required: required.includes(name),
    schema: typeof schema === 'boolean' ? {} : { ...schema },
  }))
  return [...inPath, ...inQuery]
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return rest
}
