export async function probe(): Promise<void> {}
export function lost(kind: 'a' | 'b'): void {
  probe()
  switch (kind) {
    case 'a':
      break
  }
}
