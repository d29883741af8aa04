import assert from "node:assert/strict";
import { type NamedService, ServiceNames } from "../../../src/flows/index.ts";

const TCP = 6;
const UDP = 17;
const port = (name: string, number: number, more: { protocol?: number; nodePort?: number } = {}) => ({
  name,
  protocol: TCP,
  port: number,
  nodePort: 0,
  ...more,
});
const WEB: NamedService = {
  namespace: "shop",
  name: "web",
  ips: ["10.96.0.9", "fd00::9", "192.0.2.7"],
  ports: [port("http", 80, { nodePort: 30_080 }), port("", 53, { protocol: UDP })],
};

describe("names of Services", () => {
  let names: ServiceNames;
  const at = (protocol: number, ip: string, number: number) =>
    names.at(protocol, ip, number, (one) => one === "172.30.0.11");
  beforeEach(() => {
    names = new ServiceNames();
    names.set(WEB);
  });

  it("are found by each address with a port and its protocol", () => {
    for (const ip of WEB.ips) {
      assert.deepEqual(at(TCP, ip, 80), { name: "shop/web", portName: "http" });
      assert.deepEqual(at(UDP, ip, 53), { name: "shop/web" });
      assert.equal(at(UDP, ip, 80), undefined);
      assert.equal(at(TCP, ip, 30_080), undefined);
    }
    assert.equal(at(TCP, "10.96.0.10", 80), undefined);
  });

  it("are found by a port of the nodes at addresses of nodes alone", () => {
    assert.deepEqual(at(TCP, "172.30.0.11", 30_080), { name: "shop/web", portName: "http" });
    assert.equal(at(UDP, "172.30.0.11", 30_080), undefined);
    assert.equal(at(TCP, "192.0.2.99", 30_080), undefined);
  });

  it("change and go with their Services, and leave others that have an address in common", () => {
    names.set({ ...WEB, name: "other", ips: ["192.0.2.7"], ports: [port("https", 443)] });
    assert.deepEqual(at(TCP, "192.0.2.7", 443), { name: "shop/other", portName: "https" });
    names.set({ ...WEB, ips: ["10.96.0.10"], ports: [port("http", 80, { nodePort: 30_081 })] });
    assert.equal(at(TCP, "10.96.0.9", 80), undefined);
    assert.equal(at(TCP, "172.30.0.11", 30_080), undefined);
    assert.deepEqual(at(TCP, "172.30.0.11", 30_081), { name: "shop/web", portName: "http" });
    assert.deepEqual(at(TCP, "192.0.2.7", 443), { name: "shop/other", portName: "https" });
    names.delete("shop/other");
    names.delete("shop/nobody");
    assert.equal(at(TCP, "192.0.2.7", 443), undefined);
    // A port that another one has by now stays its.
    names.set({ ...WEB, name: "next", ips: ["10.96.0.11"], ports: [port("", 1, { nodePort: 30_081 })] });
    names.delete("shop/web");
    assert.deepEqual(at(TCP, "172.30.0.11", 30_081), { name: "shop/next" });
  });
});
