/**
 * Failures of the parts below in the spec's words: which CNI error code each of them is, so that a runtime can
 * tell "call again" from "correct the configuration".
 */
import { ConfigError } from "../../config/index.ts";
import { IpamDuplicate, IpamExhausted, IpamInvalid, IpamStorageError, IpamTaken } from "../../ipam/local/index.ts";
import { NetlinkError, NetlinkTimeout } from "../../netlink/index.ts";
import { PodLinkError, type PodLinkReason } from "../../dataplane/pod-link/index.ts";
import { BandwidthRefused } from "../../dataplane/bandwidth/index.ts";
import { HostPortsNotReady, HostPortsUnsupported, HostPortTaken } from "../../dataplane/host-ports/index.ts";
import { SysError } from "../../sys/index.ts";
import { CniError, CODE, describeError, errnoOf } from "../spec/errors.ts";

/** The kernel's reasons that pass by themselves or with another's help, not by another request. */
const TRANSIENT = new Set(["EAGAIN", "EBUSY", "EINTR", "ENOBUFS", "ENOMEM", "EMFILE", "ENFILE"]);

const transient = (errno: string | undefined): boolean => errno !== undefined && TRANSIENT.has(errno);

const POD_LINK: Readonly<Record<Exclude<PodLinkReason, "kernel">, number>> = {
  attached: CODE.alreadyAttached,
  occupied: CODE.alreadyAttached,
  routed: CODE.alreadyAttached,
  invalid: CODE.invalidConfig,
};

const wrap = (code: number, error: Error, details = ""): CniError =>
  new CniError(code, describeError(error), details, { cause: error });

/** Any failure as a CNI error. */
export function toCniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  if (error instanceof IpamExhausted) return wrap(CODE.limited, error);
  if (error instanceof IpamTaken) return wrap(CODE.tryAgain, error, "It can be given once its owner is deleted.");
  if (error instanceof IpamDuplicate) return wrap(CODE.alreadyAttached, error);
  if (error instanceof IpamInvalid || error instanceof ConfigError) return wrap(CODE.invalidConfig, error);
  if (error instanceof IpamStorageError) return new CniError(CODE.io, error.message, "", { cause: error });
  if (error instanceof HostPortTaken)
    return wrap(
      CODE.alreadyAttached,
      error,
      "It is free once that pod is deleted; or give one of the two another hostPort.",
    );
  if (error instanceof HostPortsNotReady)
    return wrap(CODE.tryAgain, error, "See the skylane-agent pod of this node and its log.");
  if (error instanceof HostPortsUnsupported)
    return wrap(CODE.kernel, error, "hostPorts: portmap (Helm: hostPorts) leaves them to the plugin portmap.");
  if (error instanceof BandwidthRefused)
    return wrap(
      CODE.kernel,
      error,
      "Limits need sch_tbf, ifb, sch_ingress, cls_bpf and act_mirred of the kernel; a pod without bandwidth annotations needs none of them.",
    );
  if (error instanceof NetlinkTimeout) return wrap(CODE.tryAgain, error);
  if (error instanceof PodLinkError && error.reason !== "kernel") return wrap(POD_LINK[error.reason], error);
  const errno = errnoOf(error);
  if (error instanceof NetlinkError || error instanceof SysError || error instanceof PodLinkError) {
    return wrap(transient(errno) ? CODE.tryAgain : CODE.kernel, error);
  }
  if (error instanceof Error && errno !== undefined) return wrap(CODE.io, error);
  const message = `unexpected failure: ${describeError(error)}`;
  const stack = error instanceof Error ? (error.stack ?? "").split("\n").slice(1, 4).join(" ").trim() : "";
  return new CniError(CODE.internal, message, `This is a fault of Skylane itself; please report it. ${stack}`, {
    cause: error,
  });
}
