import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HostPorts, type HostPortsOptions } from "../../../src/dataplane/host-ports/host-ports.ts";
import {
  type HostPortRecord,
  HostPortRecords,
  type HostPortRequest,
  HostPortTaken,
  type PortMapping,
} from "../../../src/dataplane/host-ports/index.ts";
import { hostIfname } from "../../../src/dataplane/pod-link/index.ts";

const port = (hostPort: number, protocol: PortMapping["protocol"] = "tcp", hostIp = ""): PortMapping => ({
  protocol,
  hostPort,
  containerPort: 80,
  hostIp,
});
const request = (containerId: string, ...ports: PortMapping[]): HostPortRequest => ({
  owner: { containerId, ifname: "eth0" },
  network: "default",
  pod: `default/${containerId}`,
  bootId: "now",
  ips: [`10.0.0.${containerId.length}`],
  ports,
});

describe("pods' host ports", () => {
  let dir: string;
  let records: HostPortRecords;
  let done: string[];
  let attached: (record: HostPortRecord) => boolean;
  let failing: Partial<Record<"put" | "take", Error>>;
  let ports: HostPorts;
  /** Ports that the table does not have. */
  let lost: number[];

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-ports-"));
    records = new HostPortRecords(dir);
    [done, attached, failing, lost] = [[], () => true, {}, []];
    const names = (of: readonly { ports: readonly PortMapping[] }[]): string =>
      of.flatMap((one) => one.ports.map(({ hostPort }) => hostPort)).join();
    const options: HostPortsOptions = {
      records,
      isAttached: (record) => attached(record),
      table: {
        put(record) {
          done.push(`put ${names([record])} with ${files().join()}`);
          if (failing.put) throw failing.put;
        },
        missing: (record) => record.ports.filter(({ hostPort }) => lost.includes(hostPort)),
        take(gone, others) {
          done.push(`take ${names(gone)} beside ${names(others)}`);
          if (failing.take) throw failing.take;
        },
      },
      connections: {
        endFormer: async (record) => void done.push(`end former to ${names([record])}`),
        endLeft: async (gone) => void done.push(`end left to ${names(gone)}`),
      },
    };
    ports = new HostPorts(options);
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const files = (): string[] => {
    try {
      return readdirSync(join(dir, "host-ports")).sort();
    } catch {
      return [];
    }
  };
  const name = (id: string): string => `${hostIfname(id, "eth0")}.0`;

  it("are on disk before they are in the kernel, and marked there before they go from it", async () => {
    await ports.map(request("a", port(80), port(53, "udp")));
    assert.deepEqual(done.splice(0), [`put 80,53 with ${name("a")}`, "end former to 80,53"]);
    await ports.unmap({ containerId: "a", ifname: "eth0" });
    assert.deepEqual(done.splice(0), ["take 80,53 beside ", "end left to 80,53"]);
    assert.deepEqual(files(), []);
    await ports.unmap({ containerId: "a", ifname: "eth0" });
    assert.deepEqual(done, [], "a second time there is nothing to do");
  });

  it("are one pod's, and who wants another's hears whose", async () => {
    await ports.map(request("a", port(80)));
    await assert.rejects(ports.map(request("bb", port(81), port(80, "tcp", "192.0.2.1"))), (error: Error) => {
      assert.ok(error instanceof HostPortTaken);
      assert.equal(error.message, "host port 192.0.2.1:80/tcp of this node is taken by pod default/a (container a)");
      return true;
    });
    done.length = 0;
    await ports.unmap({ containerId: "bb", ifname: "eth0" });
    assert.deepEqual(done, ["take 81,80 beside 80", "end left to 81,80"]);
    assert.deepEqual(files(), [name("a")]);
    await ports.map(request("bb", port(80, "udp"), port(81)));
  });

  it("are held against the records, and those against what is asked for", async () => {
    const record = request("a", port(80), port(81));
    const { owner } = record;
    const first = port(80);
    assert.deepEqual(ports.differences(owner, [first]), ["host port 80/tcp to 80 is not recorded"]);
    await ports.map(record);
    assert.deepEqual(ports.differences(owner, record.ports), []);
    assert.deepEqual(ports.differences({ ...owner, ifname: "net1" }, []), []);
    lost = [81];
    assert.deepEqual(ports.differences(owner, []), ["host port 81/tcp to 80 is not in the packet filter"]);
    assert.deepEqual(ports.differences(owner, [{ ...first, hostPort: 82 }]).length, 2);
  });

  it("of a pod that is gone are free", async () => {
    await ports.map(request("a", port(80)));
    attached = ({ owner }) => owner.containerId !== "a";
    done.length = 0;
    await ports.map(request("bb", port(80)));
    assert.deepEqual(done, ["take 80 beside 80", "end left to 80", `put 80 with ${name("bb")}`, "end former to 80"]);
  });

  it("are let go of again where somebody was killed or failed over it", async () => {
    await ports.map(request("a", port(80)));
    failing.take = new Error("no");
    await assert.rejects(ports.unmap({ containerId: "a", ifname: "eth0" }), /no/);
    assert.deepEqual(files(), [`${name("a")}~`]);
    assert.deepEqual(records.list(), [], "nobody puts it back");
    delete failing.take;
    await ports.collect();
    assert.deepEqual(files(), []);
  });

  it("go with their attachments", async () => {
    await ports.map(request("a", port(80)));
    await ports.map(request("bb", port(81)));
    attached = ({ owner }) => owner.containerId !== "a";
    await ports.collect();
    assert.deepEqual(files(), [name("bb")]);
  });

  it("may be hundreds, and are whole", async () => {
    const all = Array.from({ length: 200 }, (_, i) => port(i + 1, "sctp", "2001:db8:1111:2222:3333:4444:5555:6666"));
    await ports.map(request("a", ...all));
    assert.ok(files().length > 1);
    assert.deepEqual(
      records.list().flatMap((record) => record.ports),
      all,
    );
    await ports.unmap({ containerId: "a", ifname: "eth0" });
    assert.deepEqual(files(), []);
  });

  it("are as they were written, and nothing else in the directory counts", async () => {
    await ports.map(request("a", port(80, "udp", "192.0.2.1")));
    const [record] = records.list();
    assert.partialDeepStrictEqual(record, request("a", port(80, "udp", "192.0.2.1")));
    assert.ok(readlinkSync(join(dir, "host-ports", name("a"))).includes("udp 80 80 192.0.2.1"));
    writeFileSync(join(dir, "host-ports/file"), "x");
    for (const [i, target] of ["x", "{}", '{"owner":{},"ports":["tcp 0 1"]}'].entries())
      symlinkSync(target, join(dir, `host-ports/link${i}`));
    const bad = JSON.stringify({ ...record, ports: ["tcp 80 80 192.0.2.1; drop"] });
    symlinkSync(bad, join(dir, "host-ports/bad"));
    assert.equal(records.list().length, 1);
  });
});
