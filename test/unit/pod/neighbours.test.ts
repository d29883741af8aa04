import assert from "node:assert/strict";
import { linkLocalRepairs, neighbourRepairs } from "../../../src/dataplane/pod-link/host-end/neighbours.ts";

describe("the neighbours of host ends", () => {
  const ends = [{ index: 7, podMac: "02:00:00:00:00:01", ips: ["10.0.0.2", "fd00::2"] }];
  const permanent = ends[0]?.ips.map((ip) => ({ ifindex: 7, ip, mac: "02:00:00:00:00:01", state: 0x80 })) ?? [];

  it("are made permanent, with the MAC of the pod's end", () => {
    assert.deepEqual(
      neighbourRepairs(ends, []).map((o) => o.op === "replace" && o.kind === "neighbour" && o.neighbour),
      ends[0]?.ips.map((ip) => ({ ifindex: 7, ip, mac: "02:00:00:00:00:01" })),
    );
  });

  it("are left alone when they are right", () => assert.deepEqual(neighbourRepairs(ends, permanent), []));

  it("have the pod's link-local address alone on their link", () => {
    const gateway = { ifindex: 7, ip: "fe80::1", prefix: 64, noPrefixRoute: true };
    const kinds = (ips: string[], noPrefixRoute: boolean): string[] =>
      linkLocalRepairs([{ index: 7, podMac: "02:00:00:00:00:01", ips }], [{ ...gateway, noPrefixRoute }]).map(
        ({ kind }) => kind,
      );
    assert.deepEqual(kinds(["fd00::2"], false), ["route", "address"]);
    assert.deepEqual(kinds(["fd00::2", "fe80::ff:fe00:1"], true), []);
    assert.deepEqual(linkLocalRepairs(ends, []), []);
  });

  it("follow the pod's MAC, and are not those of another host end, nor those that the kernel forgets", () => {
    for (const wrong of [{ mac: "02:00:00:00:00:09" }, { ifindex: 8 }, { state: 0x02 }])
      assert.equal(
        neighbourRepairs(
          ends,
          permanent.map((one) => ({ ...one, ...wrong })),
        ).length,
        2,
      );
  });
});
