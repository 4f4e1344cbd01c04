/** Type of what is taken out and put in: a JSON object per line. */
export const NDJSON = 'application/x-ndjson'
/** Bytes that are put in at once. */
export const IMPORT_BYTES_MAX: number = 16 * 1024 * 1024
