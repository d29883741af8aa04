import assert from "node:assert/strict";
import { CniError, CODE } from "../../../src/cni/index.ts";
import { EgressAdmission } from "../../../src/egress/admission.ts";
import { ComingPods } from "../../../src/egress/coming-pods.ts";
import type { KubeClient } from "../../../src/kube/index.ts";

const ASKING = { namespace: "shop", name: "a", uid: "0e7c1f3a-6f0f-4b8e-9a58-0d2f6b1f9c11" };
const AT = { containerId: "c1", ifname: "eth0" };
const IPS = ["10.0.0.1"];

describe("letting pods come to a node with egress gateways", () => {
  let known: { synced: boolean; wanted: boolean; fault: string | undefined };
  /** What was put into the kernel, by the addresses of pods that come. */
  let put: string[][];
  let looks: number;
  let admission: EgressAdmission;
  let blue: ComingPods;
  const coming = (): string[] => admission.coming.together([]).flatMap(({ ips }) => ips);

  beforeEach(() => {
    known = { synced: true, wanted: true, fault: undefined };
    [put, looks] = [[], 0];
    blue = new ComingPods();
    admission = new EgressAdmission({
      client: {} as KubeClient,
      nodeName: "here",
      synced: () => known.synced,
      wanted: () => known.wanted,
      heard: (key) => ({ key, namespace: "shop", labels: {}, node: "here", ips: [], uid: ASKING.uid }),
      concerns: ({ ips }) => ips.some((ip) => ip.startsWith("10.0.0.")),
      put: (network) => {
        put.push(network === undefined ? coming() : [`in ${network}`]);
        return Promise.resolve(known.fault);
      },
      networkAt: (path) => (path.endsWith("blue") ? { name: "blue", coming: blue } : undefined),
      onChange: () => looks++,
    });
  });
  const refused = (pattern: RegExp) => (error: unknown) =>
    error instanceof CniError && error.code === CODE.tryAgain && pattern.test(error.message);

  it("waits for their way out, and gives it up where that fails", async () => {
    await admission.admit(AT, ASKING, IPS);
    assert.deepEqual(put, [IPS]);
    assert.deepEqual(coming(), IPS);
    known.fault = "nft is not there";
    await assert.rejects(
      admission.admit({ ...AT, containerId: "c2" }, ASKING, ["10.0.0.2"]),
      refused(/nft is not there/),
    );
    assert.deepEqual(coming(), IPS);
  });

  it("holds pods of a pod network apart, and waits for their way in its namespace", async () => {
    const there = { ...AT, hostNetns: "/run/netns/sky-blue" };
    await admission.admit(there, ASKING, IPS);
    assert.deepEqual(put, [["in blue"]]);
    assert.deepEqual(coming(), []);
    assert.deepEqual(
      blue.together([]).map(({ network, ips }) => [network, ips]),
      [["blue", IPS]],
    );
    admission.released(there);
    assert.deepEqual(blue.together([]), []);
    // One that can have no gateways.
    await admission.admit({ ...AT, hostNetns: "/run/netns/sky-lan" }, ASKING, IPS);
    assert.equal(put.length, 1);
  });

  it("waits until it is known which gateways there are", async () => {
    known.synced = false;
    const admitted = admission.admit(AT, ASKING, IPS);
    admission.heard();
    assert.deepEqual(put, []);
    known.synced = true;
    admission.heard();
    await admitted;
    assert.deepEqual(put, [IPS]);
  });

  it("refuses to guess where that is not known in time", async () => {
    known.synced = false;
    await assert.rejects(admission.admit(AT, ASKING, IPS), refused(/has not said which there are/));
  });

  it("waits for nothing where no gateway selects the pod, whose addresses may have been another one's", async () => {
    await admission.admit(AT, ASKING, ["10.9.0.1"]);
    assert.deepEqual(put, []);
    assert.deepEqual(coming(), ["10.9.0.1"]);
    assert.equal(looks, 1);
  });

  it("is nothing where there are none, and for networks that can have none", async () => {
    await admission.admit({ ...AT, hostNetns: "/run/netns/lan" }, ASKING, IPS);
    known = { ...known, wanted: false, synced: false };
    await admission.admit(AT, ASKING, IPS);
    assert.deepEqual(put, []);
  });
});
