/**
 * An order-free checksum of a set of rows: toggling a row in and out again leaves no trace, so it is kept up to date
 * with each change. 64 bits from two independent 32-bit hashes; it finds accidents, not forgeries.
 */
export class TableDigest {
  private high = 0
  private low = 0

  toggle(field: string, value: string): void {
    let a = 0x811c9dc5
    let b = 0x9e3779b9
    for (let part = 0; part < 2; part++) {
      const text = part === 0 ? field : value
      for (let i = 0; i < text.length; i++) {
        const code = text.charCodeAt(i)
        a = Math.imul(a ^ code, 0x01000193)
        b = Math.imul(b ^ (b >>> 15) ^ code, 0x85ebca6b)
      }
      // Between field and value, so that moving a character from one to the other shows.
      a = Math.imul(a ^ 0xffff, 0x01000193)
      b = Math.imul(b ^ 0xffff, 0xc2b2ae35)
    }
    this.high ^= a ^ (a >>> 13)
    this.low ^= b ^ (b >>> 16)
  }

  toString(): string {
    return (this.high >>> 0).toString(16).padStart(8, '0') + (this.low >>> 0).toString(16).padStart(8, '0')
  }
}
