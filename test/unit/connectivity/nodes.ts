/** Made-up nodes with the pods of a test. */
import type { Services, TestedNode } from "../../../src/cli/connectivity/plan.ts";

/** So many nodes in both families. */
export const nodes = (count: number): TestedNode[] =>
  Array.from({ length: count }, (_, i): TestedNode => {
    const n = i + 1;
    return {
      name: `node${n}`,
      ips: [`172.30.0.${n}`, `fd30::${n.toString(16)}`],
      kubeletPort: 10_250,
      agent: `skylane-${n}`,
      image: "skylane:test",
      peer: { name: `peer-${n}`, ips: [`10.244.${n}.2`, `fd00:${n.toString(16)}::2`] },
      other: { name: `other-${n}`, ips: [`10.244.${n}.3`, `fd00:${n.toString(16)}::3`] },
    };
  });

export const services: Services = {
  own: { ips: ["10.96.0.7", "fd00:96::7"], port: 80 },
  api: { ips: ["10.96.0.1"], port: 443 },
  dns: true,
};
