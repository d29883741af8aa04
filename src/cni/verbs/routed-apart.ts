/**
 * An interface whose sandbox has a default route already: another plugin's interface has it, or another one in this very network
 * (Multus may attach a pod to one network as often as it likes). It has addresses and is reached as every other; only what is sent from
 * its own addresses leaves through it, as answers must, and everything else goes where it went before.
 */
import { EVERYTHING, familyOf } from "../../addr/index.ts";
import { ownSourceTable, type PodLinkSpec } from "../../dataplane/pod-link/index.ts";
import type { AttachmentRecord } from "../attachments.ts";
import type { Attachment } from "../spec/environment.ts";
import type { Host } from "../host.ts";

type Beside = Required<Pick<AttachmentRecord, "destinations" | "bySource" | "sourceTable">>;

/** Its routes where others have all of the main table's. */
export const routedApart = ({ containerId, ifname }: Attachment): Beside => ({
  destinations: [],
  bySource: true,
  sourceTable: ownSourceTable(containerId, ifname),
});

/** How it is to be routed where the default route was found taken: what nobody has one for, through this one. @throws NetlinkError, SysError */
export function besideAnother(host: Host, spec: PodLinkSpec): Beside {
  const taken = host.defaultFamilies(spec.netns);
  const free = spec.addresses.map(familyOf).filter((family) => !taken.includes(family));
  return { ...routedApart(spec), destinations: free.map((family) => EVERYTHING[family]) };
}
