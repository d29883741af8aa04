/** Why a pod's host ports are not mapped. */

/** Another pod of this node has one of them. */
export class HostPortTaken extends Error {
  override readonly name = "HostPortTaken";
}

/** They cannot be mapped now; the same request may succeed later. */
export class HostPortsNotReady extends Error {
  override readonly name = "HostPortsNotReady";
}

/** This node cannot map host ports. */
export class HostPortsUnsupported extends Error {
  override readonly name = "HostPortsUnsupported";
}
