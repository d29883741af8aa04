/** Why there is no block or no address of a claim; the CNI plugin answers each kind with another code. */

/**
 * - `exhausted`: the network has no block left (CNI code 51)
 * - `unavailable`: the API did not answer, or answered that it cannot now; trying again may help (CNI code 11)
 * - `inUse`: the claim is another pod's until that one is gone (CNI code 11)
 * - `refused`: what was asked for cannot be, whatever happens (CNI code 7)
 */
export type BlockErrorKind = "exhausted" | "unavailable" | "inUse" | "refused";

/** A failure for the reader of a pod's Events. */
export class BlockError extends Error {
  override name = "BlockError";
  readonly kind: BlockErrorKind;

  constructor(kind: BlockErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}
