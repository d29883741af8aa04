/** Bandwidth limits of pods that are here, held against the kernel. */
import { limitDifferences, LimitRecords } from "../../../dataplane/bandwidth/index.ts";
import { hostIfname } from "../../../dataplane/pod-link/index.ts";
import type { Link } from "../../../netlink/index.ts";
import type { LostLimit } from "../facts.ts";

/** @param links of the host. @throws Error where the records, or the kernel, cannot be read */
export function lostLimits(dataDir: string, links: readonly Link[]): { all: number; lost: LostLimit[] } {
  const names = new Set(links.map(({ name }) => name));
  const records = new LimitRecords(dataDir)
    .list()
    .filter(
      ({ owner: { containerId, ifname }, hostNetns }) =>
        hostNetns !== undefined || names.has(hostIfname(containerId, ifname)),
    );
  const lost = records.flatMap((record): LostLimit[] => {
    const [why] = limitDifferences(record);
    return why === undefined ? [] : [{ pod: record.pod ?? `container ${record.owner.containerId.slice(0, 13)}`, why }];
  });
  return { all: records.length, lost };
}
