/** Random keys that outlive nodes and are the same on all of them. */
export interface SecretStore {
  /**
   * The key of this name; the first call anywhere makes it. Every later call, of any node and after any restart, gets
   * the same bytes for as long as the store keeps what it is given.
   *
   * @param name - lower-case letters, digits and `-`
   * @param bytesCount - length of a key that has to be made; one that is there keeps its own
   * @throws BrokerError `MIDGE_STORE_UNAVAILABLE`; safe to repeat
   */
  secret(name: string, bytesCount: number): Promise<Uint8Array>
}
