import assert from "node:assert/strict";
import { cniArgs, inOrder, parseConfList, pluginRequest, resultIps } from "../../../lab/runtime/chain.ts";

const list = (over: object): string =>
  JSON.stringify({ cniVersion: "1.0.0", name: "net", plugins: [{ type: "a" }, { type: "b" }], ...over });

describe("what a runtime asks of a chain", () => {
  it("takes the highest version that it knows itself", () => {
    const version = (over: object): string => parseConfList(list(over), "f").cniVersion;
    assert.equal(version({}), "1.0.0");
    assert.equal(version({ cniVersions: ["0.3.1", "1.1.0", "0.4.0"] }), "1.1.0");
    assert.equal(version({ cniVersions: ["0.3.1", "1.2.0", "2.0.0"] }), "1.0.0");
    assert.equal(version({ cniVersion: "0.4.0", cniVersions: ["0.3.10", "0.3.9"] }), "0.4.0");
  });

  it("refuses a list without a name or plugins, by the file's name", () => {
    assert.throws(() => parseConfList(list({ name: undefined }), "/etc/x"), /\/etc\/x has no "name"/);
    assert.throws(() => parseConfList(list({ plugins: [] }), "/etc/x"), /\/etc\/x has no "plugins"/);
  });

  it("gives each plugin the capabilities it declares and the result so far", () => {
    const parsed = parseConfList(list({}), "f");
    const plugin = { type: "a", capabilities: { ips: true, mac: false }, own: 1 };
    const { type, config } = pluginRequest(parsed, plugin, { ips: ["10.0.0.1"], mac: "x", bandwidth: {} }, { ips: [] });
    assert.equal(type, "a");
    assert.deepEqual(config, {
      type: "a",
      own: 1,
      capabilities: { ips: true, mac: false },
      name: "net",
      cniVersion: "1.0.0",
      runtimeConfig: { ips: ["10.0.0.1"] },
      prevResult: { ips: [] },
    });
    assert.ok(!("runtimeConfig" in pluginRequest(parsed, { type: "b" }, { ips: [] }, undefined).config));
    assert.ok(!("prevResult" in pluginRequest(parsed, { type: "b" }, {}, undefined).config));
  });

  it("never makes a path of a plugin's type", () => {
    const parsed = parseConfList(list({}), "f");
    for (const type of [undefined, "", "../x", "/bin/sh", "a/b", "-x", "a b"])
      assert.throws(() => pluginRequest(parsed, { type }, {}, undefined), /no usable "type"/);
  });

  it("takes down in the opposite order", () => {
    const parsed = parseConfList(list({}), "f");
    assert.deepEqual(
      inOrder(parsed, "ADD").map(({ type }) => type),
      ["a", "b"],
    );
    assert.deepEqual(
      inOrder(parsed, "CHECK").map(({ type }) => type),
      ["a", "b"],
    );
    assert.deepEqual(
      inOrder(parsed, "DEL").map(({ type }) => type),
      ["b", "a"],
    );
  });

  it("names the pod as kubelet's runtimes do", () => {
    assert.equal(
      cniArgs({ namespace: "default", name: "p", uid: "u", containerId: "c" }),
      "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID=u",
    );
  });

  it("reads addresses from a result", () => {
    assert.deepEqual(resultIps({ ips: [{ address: "10.0.0.1/32" }, { address: "fd00::1/128" }] }, "eth0"), [
      "10.0.0.1",
      "fd00::1",
    ]);
    assert.deepEqual(resultIps({}, "eth0"), []);
  });

  it("tells the addresses of a pod's interfaces apart", () => {
    const interfaces = [
      { name: "sky1" },
      { name: "eth0", sandbox: "/n" },
      { name: "sky2" },
      { name: "net1", sandbox: "/n" },
    ];
    const ips = [
      { address: "10.0.0.1/32", interface: 1 },
      { address: "10.9.0.1/32", interface: 3 },
    ];
    assert.deepEqual(resultIps({ interfaces, ips }, "eth0"), ["10.0.0.1"]);
    assert.deepEqual(resultIps({ interfaces, ips }, "net1"), ["10.9.0.1"]);
    assert.deepEqual(resultIps({ interfaces, ips }, "net2"), []);
  });
});
