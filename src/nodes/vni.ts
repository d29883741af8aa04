/**
 * The default network's VNI where the configuration leaves it open (`vni: auto`): the one that this node has already, else the
 * one that the cluster has, else the default of new clusters.
 *
 * Up to 0.1 the default was 4096, the first VNI that Docker Swarm gives a network, on the same UDP port (moby, swarmkit's
 * ovmanager, `vxlanIDStart`), and the one of Calico. A node of a cluster that was installed then keeps it: another VNI is another
 * device, and a moment without one.
 */
import type { AgentConfig } from "../config/index.ts";
import type { Link } from "../netlink/index.ts";
import { AnnotationError, readVtepAnnotation } from "../peers/index.ts";
import { deviceAlias } from "../dataplane/vxlan/index.ts";
import type { Inputs } from "./inputs.ts";

/** VNI of new clusters: below the range of Docker Swarm, and of no other plugin known to us. */
export const DEFAULT_VNI = 759;
/** VNI of clusters that were installed with the default of former releases. */
export const FORMER_VNI = 4096;

/** The device of a network among this machine's, under whatever VNI it was made. */
export const deviceThere = (network: string, links: readonly Link[]): Link | undefined =>
  links.find(({ kind, alias }) => kind === "vxlan" && alias === deviceAlias(network));

/**
 * A network's VNI, as configured or found. What other Nodes say decides only between the two defaults, and only where most
 * say so, so that no Node can choose another's.
 */
export function vniOf(
  { network, vni }: Pick<AgentConfig, "network" | "vni">,
  { own, nodes }: Inputs,
  links: readonly Link[],
): number {
  if (vni !== "auto") return vni;
  const kept = deviceThere(network, links)?.vxlan?.vni ?? vniIn(own.vtepAnnotation, network);
  if (kept !== undefined) return kept;
  let balance = 0;
  for (const { name, vtepAnnotation } of nodes) {
    if (name === own.name) continue;
    const theirs = vniIn(vtepAnnotation, network);
    if (theirs !== undefined) balance += theirs === FORMER_VNI ? 1 : -1;
  }
  return balance > 0 ? FORMER_VNI : DEFAULT_VNI;
}

function vniIn(annotation: string | undefined, network: string): number | undefined {
  if (annotation === undefined) return undefined;
  try {
    return readVtepAnnotation(annotation, network)?.vni;
  } catch (error) {
    if (error instanceof AnnotationError) return undefined; // who judges peers says so
    throw error;
  }
}
