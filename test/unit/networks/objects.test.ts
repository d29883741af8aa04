import assert from "node:assert/strict";
import { parseCidr } from "../../../src/addr/index.ts";
import {
  blockName,
  blockObject,
  endpointsName,
  endpointsObject,
  labelsOf,
  ObjectError,
  parseIPClaim,
  parseNetworkBlock,
  readNetworkBlock,
  parseNetworkEndpoints,
  parsePodNetwork,
  sameObject,
} from "../../../src/crd/index.ts";
import { generator, ipClaim, networkBlock, podNetwork } from "./support.ts";

const refuses = (parse: () => unknown, ...words: string[]): void => {
  assert.throws(parse, (error: Error) => {
    assert.ok(error instanceof ObjectError, String(error));
    for (const word of words) assert.ok(error.message.includes(word), `${error.message} does not name ${word}`);
    return true;
  });
};
const written = (object: object, name: string): object => ({
  ...object,
  metadata: { ...(networkBlock(name, {})["metadata"] as object), ...(object as { metadata: object }).metadata },
});

describe("objects of pod networks", () => {
  it("reads a PodNetwork with its defaults", () => {
    assert.deepEqual(parsePodNetwork(podNetwork("blue")), {
      name: "blue",
      uid: "uid-blue",
      resourceVersion: "7",
      creationTimestamp: "2026-01-01T00:00:00Z",
      vni: 100,
      cidrs: ["10.1.0.0/16"],
      mode: "Routed",
      blockSize: 64,
      masquerade: false,
      directRouting: "off",
      broadcast: "Replicate",
    });
  });

  it("reads every key of a PodNetwork", () => {
    const spec = {
      vni: 16_777_215,
      cidrs: ["fd01::/56", "10.1.0.0/16"],
      mode: "Bridged",
      blockSize: 4,
      mtu: 1280,
      masquerade: false,
      namespaceSelector: { matchLabels: { team: "a" }, matchExpressions: null },
      broadcast: "Drop",
      ofNewerReleases: 1,
    };
    const { ofNewerReleases: _, ...known } = spec;
    const { name: __, uid, resourceVersion, creationTimestamp, ...read } = parsePodNetwork(podNetwork("b", spec));
    assert.ok(uid && resourceVersion && creationTimestamp);
    const namespaceSelector = { matchLabels: { team: "a" }, matchExpressions: [] };
    assert.deepEqual(read, { ...known, namespaceSelector, directRouting: "off" });
    assert.equal(parsePodNetwork(podNetwork("b", { masquerade: true })).masquerade, true);
    assert.equal(parsePodNetwork(podNetwork("b", { directRouting: "auto" })).directRouting, "auto");
  });

  it("names the key that a PodNetwork has wrong", () => {
    const wrong: [Record<string, unknown>, string][] = [
      [{ vni: undefined }, "spec.vni"],
      [{ vni: 0 }, "spec.vni"],
      [{ vni: 0x1000000 }, "spec.vni"],
      [{ vni: "5" }, "spec.vni"],
      [{ cidrs: [] }, "spec.cidrs"],
      [{ cidrs: "10.0.0.0/8" }, "spec.cidrs"],
      [{ cidrs: ["10.1.0.0/16", "10.2.0.0/16"] }, "spec.cidrs"],
      [{ cidrs: ["10.1.0.0/16", "fd01::/64", "fd02::/64"] }, "spec.cidrs"],
      [{ cidrs: ["10.1.0.1/16"] }, "spec.cidrs[0]"],
      [{ cidrs: ["10.1.0.0/16", "224.0.0.0/8"] }, "spec.cidrs[1]"],
      [{ cidrs: ["10.1.0.0/27"] }, "blockSize".slice(0, 5)],
      [{ mode: "Switched" }, "spec.mode"],
      [{ blockSize: 48 }, "spec.blockSize"],
      [{ blockSize: 2 }, "spec.blockSize"],
      [{ mtu: 575 }, "spec.mtu"],
      [{ cidrs: ["fd01::/64"], mtu: 1279 }, "spec.mtu"],
      [{ masquerade: "yes" }, "spec.masquerade"],
      [{ namespaceSelector: "all" }, "spec.namespaceSelector"],
      [{ namespaceSelector: { matchLabels: { a: 1 } } }, "spec.namespaceSelector.matchLabels"],
      [{ directRouting: "on" }, "spec.directRouting"],
      [{ mode: "Bridged", directRouting: "auto" }, "spec.directRouting"],
      [{ mode: "Bridged", masquerade: true }, "spec.masquerade"],
      [{ broadcast: "Drop" }, "spec.broadcast"],
    ];
    for (const [spec, key] of wrong) refuses(() => parsePodNetwork(podNetwork("blue", spec)), "PodNetwork blue", key);
    refuses(() => parsePodNetwork(podNetwork("a".repeat(41))), "metadata.name");
    refuses(() => parsePodNetwork(podNetwork("a.b")), "metadata.name");
    refuses(() => parsePodNetwork(podNetwork("blue", {}, { creationTimestamp: "long ago" })), "creationTimestamp");
    for (const nothing of [undefined, null, 1, [], {}, { metadata: {} }]) refuses(() => parsePodNetwork(nothing));
  });

  it("never throws anything but its own error, whatever it is given", () => {
    const random = generator(20_261_125);
    const odd: unknown[] = [
      null,
      undefined,
      0,
      -1,
      1.5,
      "",
      "a",
      "10.0.0.0/8",
      "fd00::/64",
      [],
      [null],
      {},
      { a: 1 },
      true,
    ];
    const pick = (): unknown => odd[random(odd.length)];
    const keys = ["vni", "cidrs", "mode", "blockSize", "mtu", "masquerade", "namespaceSelector", "network", "cidr"];
    const more = ["node", "addresses", "ips", "mac", "podName", "endpoints", "directRouting", "broadcast"];
    for (let i = 0; i < 1500; i++) {
      const spec = Object.fromEntries([...keys, ...more].flatMap((key) => (random(2) ? [[key, pick()]] : [])));
      const object = { ...podNetwork("blue", spec, { namespace: pick() }), status: pick() };
      for (const parse of [parsePodNetwork, parseNetworkBlock, parseIPClaim, parseNetworkEndpoints]) {
        try {
          parse(object);
        } catch (error) {
          assert.ok(error instanceof ObjectError, `${JSON.stringify(object)}: ${String(error)}`);
        }
      }
    }
  });

  it("reads what it writes: a node's block, a block of claims, endpoints", () => {
    const node = { name: "n1", uid: "u1" };
    const block = parseNetworkBlock(written(blockObject({ network: "blue", node }, "10.1.0.64/26"), ""));
    assert.deepEqual(
      [block.name, block.network, block.cidr, block.node, block.addresses],
      ["blue.10-1-0-64-26", "blue", "10.1.0.64/26", "n1", {}],
    );
    const held = { "10.1.0.65": "team/db-0/uid-1" };
    const claims = parseNetworkBlock(written(blockObject({ network: "blue" }, "10.1.0.64/26", held), ""));
    assert.deepEqual([claims.node, claims.addresses], ["", held]);
    assert.equal(sameObject(claims, { ...claims, resourceVersion: "8" }), true);
    assert.equal(sameObject(claims, { ...claims, addresses: {} }), false);
    const list = [{ ips: ["10.1.0.2", "fd01::2"], mac: "02:00:00:00:00:01", moves: 3 }];
    const endpoints = parseNetworkEndpoints(written(endpointsObject("blue", node, list), ""));
    assert.deepEqual([endpoints.name, endpoints.node, endpoints.endpoints], ["blue.n1", "n1", list]);
  });

  it("refuses blocks and endpoints that are not what their name says, and addresses from elsewhere", () => {
    const good = { network: "blue", cidr: "10.1.0.64/26", node: "" };
    const name = "blue.10-1-0-64-26";
    const bad = (spec: Record<string, unknown>, ...words: string[]): void =>
      refuses(() => parseNetworkBlock(networkBlock(name, { ...good, ...spec })), ...words);
    bad({ cidr: "10.1.0.128/26" }, "metadata.name", "blue.10-1-0-128-26");
    bad({ network: "green" }, "metadata.name");
    bad({ cidr: "10.1.0.65/26" }, "spec.cidr");
    bad({ node: 5 }, "spec.node");
    bad({ addresses: { "10.1.1.1": "team/db/uid-1" } }, "10.1.1.1");
    bad({ addresses: { "10.1.0.65": "team/db" } }, "NAMESPACE/CLAIM/UID");
    bad({ node: "n1", addresses: { "10.1.0.65": "team/db/uid-1" } }, "spec.addresses");
    const endpoint = (value: unknown) => networkBlock("blue.n1", { network: "blue", node: "n1", endpoints: [value] });
    refuses(() => parseNetworkEndpoints(endpoint({ ips: ["10.1.0.2"], mac: "x" })), "spec.endpoints[0].mac");
    refuses(() => parseNetworkEndpoints(endpoint({ ips: ["ff02::1"], mac: "02:00:00:00:00:01" })), "ips[0]");
    refuses(
      () => parseNetworkEndpoints(endpoint({ ips: [], mac: "02:00:00:00:00:01", moves: Number.MAX_SAFE_INTEGER })),
      "spec.endpoints[0].moves",
    );
    refuses(() => parseNetworkEndpoints(networkBlock("blue.n2", { network: "blue", node: "n1" })), "metadata.name");
  });

  it("reads of a claims' block the entries that make sense, whatever else somebody wrote beside them", () => {
    const read = (addresses: unknown, node = "") =>
      readNetworkBlock(networkBlock("blue.10-1-0-64-26", { network: "blue", cidr: "10.1.0.64/26", node, addresses }))
        .addresses;
    const held = { "10.1.0.65": "team/db/uid-1" };
    const junk = Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`x${n}`, "a/b/c"]));
    for (const more of [
      { garbage: "a/b/c", "": "a/b/c", "10.1.0.64/26": "a/b/c", "10.1.0.300": "a/b/c" },
      { "10.1.1.1": "a/b/c", "fe80::1%eth0": "a/b/c", "010.001.000.070": "a/b/c", ["x".repeat(1 << 20)]: "a/b/c" },
      { "10.1.0.66": 7, "10.1.0.67": "a/b", "10.1.0.68": null, "10.1.0.69": `a/b/${"c".repeat(1_000)}` },
      // A second name of the same address does not take it over.
      { "::ffff:10.1.0.65": "a/b/c" },
      junk,
    ])
      assert.deepEqual(read({ ...more, ...held }), held, JSON.stringify(more).slice(0, 100));
    for (const none of [undefined, null, 7, "x", [], [held]]) assert.deepEqual(read(none), {});
    assert.deepEqual(read(held, "n1"), {});
  });

  it("reads no more of a list than there can be", () => {
    const ips = Array.from({ length: 100_000 }, () => "10.1.0.2");
    const endpoint = { ips, mac: "02:00:00:00:00:01" };
    const object = networkBlock("blue.n1", { network: "blue", node: "n1", endpoints: [endpoint] });
    refuses(() => parseNetworkEndpoints(object), 'spec.endpoints[0].ips is "100000 addresses"');
    assert.deepEqual(parseIPClaim(ipClaim({}, { ips })).status.ips, []);
  });

  it("reads an IPClaim", () => {
    const claim = parseIPClaim(
      ipClaim(
        { podName: "db-0", ips: ["10.1.2.3"], mac: "02-00-00-00-00-0A" },
        { ips: ["10.1.2.3"], mac: "02:00:00:00:00:0a", node: "n1", pod: "", podUID: "u1" },
      ),
    );
    assert.deepEqual(
      [claim.namespace, claim.network, claim.podName, claim.ips, claim.mac, claim.status],
      [
        "team",
        "blue",
        "db-0",
        ["10.1.2.3"],
        "02:00:00:00:00:0a",
        { ips: ["10.1.2.3"], mac: "02:00:00:00:00:0a", node: "n1", podUid: "u1" },
      ],
    );
    assert.deepEqual(parseIPClaim(ipClaim({})).status, { ips: [] });
    refuses(() => parseIPClaim(ipClaim({ ips: ["10.1.2.3", "10.1.2.4"] })), "IPClaim team/db-0", "spec.ips");
    refuses(() => parseIPClaim(ipClaim({ mac: "01:00:5e:00:00:01" })), "spec.mac");
    // Agents write the status: one that makes no sense must not keep the claim from its pod.
    const nonsense = { ips: "x", mac: "ff:ff:ff:ff:ff:ff", node: "a\u001b[2J", pod: 7, podUID: {} };
    assert.deepEqual(parseIPClaim(ipClaim({}, nonsense)).status, { ips: [] });
    refuses(() => parseIPClaim(ipClaim({}, undefined, {})), "metadata.namespace");
  });

  it("gives every block a name of its own, and one that the API server takes", () => {
    const random = generator(7);
    const cidrs = new Set(["1::2:0:40/122", "1:0:2::40/122", "10.1.0.0/26", "fd00::/122", "::1:0/122"]);
    for (let i = 0; i < 2000; i++) {
      const parts = Array.from({ length: 6 }, () => (random(2) ? 0 : random(3))).map((part) => part.toString(16));
      cidrs.add(parseCidr(`${["fd00", ...parts, (random(1000) * 64).toString(16)].join(":")}/122`));
    }
    const names = new Set([...cidrs].map((cidr) => blockName("blue", cidr)));
    assert.equal(names.size, cidrs.size);
    const label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    for (const name of names) if (!name.startsWith("blue.-")) assert.match(name, new RegExp(`^${label}\\.${label}$`));
  });

  it("keeps names of long nodes within what the API server takes, and apart", () => {
    const [a, b] = [`${"n".repeat(60)}.${"x".repeat(191)}a`, `${"n".repeat(60)}.${"x".repeat(191)}b`];
    const network = "b".repeat(40);
    for (const node of [a, b]) {
      assert.ok(endpointsName(network, node).length <= 253);
      const label = labelsOf(network, node)["skylane.dev/node"] as string;
      assert.match(label, /^[a-z0-9]([-a-z0-9_.]{0,61}[a-z0-9])?$/);
    }
    assert.notEqual(endpointsName(network, a), endpointsName(network, b));
    assert.notEqual(labelsOf(network, a)["skylane.dev/node"], labelsOf(network, b)["skylane.dev/node"]);
    assert.equal(endpointsName("blue", "n1.example"), "blue.n1.example");
  });
});
