import type { OpenApiDocument, OpenApiOperation } from './open-api.ts'

/** The page loads its style sheet from here and nothing else from anywhere. */
export const DOCS_STYLE_PATH = '/api/docs/style.css'

/** Of the page and its style sheet. */
export const DOCS_POLICY =
  "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** The style sheet of the page. */
export const DOCS_STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; }
nav a { margin-right: 1em; white-space: nowrap; }
details { border-top: 1px solid #8884; padding: .4rem 0; }
summary { cursor: pointer; }
code, pre { font: .875rem/1.45 ui-monospace, monospace; }
pre { background: #8881; overflow: auto; padding: .75rem; max-height: 30rem; }
table { border-collapse: collapse; } td, th { padding: .15rem .75rem .15rem 0; text-align: left; vertical-align: top; }
.method { display: inline-block; font-weight: 700; min-width: 4.5rem; }
.access { border: 1px solid #8886; border-radius: 1em; font-size: .75rem; padding: 0 .6em; }
`

/** The documentation as one page that works without scripts and without the network. */
export function docsPage(document: OpenApiDocument): string {
  const sections = document.tags.map(({ name }) => section(document, name))
  const links = document.tags.map(({ name }) => `<a href="#${anchor(name)}">${escapeHtml(name)}</a>`)
  const paragraphs = document.info.description.split('\n\n').map(text => `<p>${escapeHtml(text)}</p>`)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Midge API</title>
<link rel="stylesheet" href="${DOCS_STYLE_PATH}">
</head>
<body>
<h1>Midge API</h1>
<p>Version ${escapeHtml(document.info.version)}. The same as <a href="/api/v1/openapi.json">OpenAPI 3.1</a>, for generators and other viewers.</p>
${paragraphs.join('\n')}
<nav>${links.join(' ')}</nav>
${sections.join('\n')}
</body>
</html>
`
}

function section({ paths }: OpenApiDocument, tag: string): string {
  const entries = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([, operation]) => operation.tags.includes(tag))
      .map(([method, operation]) => entry(method, path, operation)),
  )
  return `<h2 id="${anchor(tag)}">${escapeHtml(tag)}</h2>\n${entries.join('\n')}`
}

function entry(method: string, path: string, operation: OpenApiOperation): string {
  const { parameters, requestBody, responses } = operation
  const rows = parameters.map(
    ({ name, in: place, required, schema }) =>
      `<tr><td><code>${escapeHtml(name)}</code></td><td>${place}${required ? '' : ', optional'}</td><td>${escapeHtml(String(schema['description'] ?? schema['type'] ?? ''))}</td></tr>`,
  )
  const answers = Object.entries(responses).flatMap(([status, response]) =>
    'content' in response && response.content !== undefined ? schemas(`Answer ${status}`, response.content) : [],
  )
  return `<details>
<summary><span class="method">${method.toUpperCase()}</span> <code>/api/v1${escapeHtml(path)}</code> <span class="access">${escapeHtml(operation['x-access'])}</span><br>${escapeHtml(operation.summary)}</summary>
${rows.length === 0 ? '' : `<table>${rows.join('')}</table>`}
${[...(requestBody === undefined ? [] : schemas('Body', requestBody.content)), ...answers].join('\n')}
</details>`
}

function schemas(title: string, content: Readonly<Record<string, { schema: object }>>): string[] {
  return Object.entries(content).map(
    ([type, { schema }]) =>
      `<p>${title}, <code>${escapeHtml(type)}</code></p><pre>${escapeHtml(JSON.stringify(schema, undefined, 2))}</pre>`,
  )
}

function anchor(tag: string): string {
  return tag.toLowerCase().replace(/\W+/g, '-')
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
