/**
 * Why a pod's link could not be made, in words for a pod's Events.
 */

/**
 * - `attached`: this attachment has its link already (a second ADD without a DEL)
 * - `occupied`: somebody else's interface, route or name is in the way; it was left alone
 * - `routed`: another interface of the sandbox has the pod's default route; nothing was left behind
 * - `invalid`: no kernel state could satisfy the request
 * - `kernel`: the kernel refused a step; everything was taken back
 */
export type PodLinkReason = "attached" | "occupied" | "routed" | "invalid" | "kernel";

/** The link was not made, and nothing of it was left behind unless the message says so. */
export class PodLinkError extends Error {
  override readonly name = "PodLinkError";
  readonly reason: PodLinkReason;
  /** The kernel's error code ("ENODEV"), where it refused a step. */
  readonly code: string | undefined;

  constructor(reason: PodLinkReason, message: string, options: ErrorOptions & { code?: string | undefined } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.reason = reason;
    this.code = options.code;
  }
}
