/** Can this kernel carry the data path, and is it set up for it? */
import type { Facts, Trial } from "../facts.ts";
import { fail, type Finding, ok, skip, some, warn } from "../finding.ts";

/** Linux 5.2 (July 2019) has nat chains in tables of family inet, which the rules need. */
const LEAST = [5, 2] as const;

function version({ release }: Facts): Finding {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  const enough = Number(major) > LEAST[0] || (Number(major) === LEAST[0] && Number(minor) >= LEAST[1]);
  if (major === undefined || enough) return ok("kernel.version", `Linux ${release}`);
  return fail(
    "kernel.version",
    `Linux ${release}`,
    `Skylane's rules need Linux ${LEAST.join(".")} or later (NAT in nftables tables of family inet).`,
    "Upgrade the node's kernel.",
  );
}

function feature(check: string, trial: Trial, what: string, meaning: string, cure: string): Finding {
  return trial.works ? ok(check, `${what} works`) : fail(check, `${what}: ${trial.error}`, meaning, cure);
}

function features({ kernel, links }: Facts): Finding[] {
  const names = ["kernel.vxlan", "kernel.veth", "kernel.nftables"];
  if ("error" in kernel) {
    const there = links.some(({ kind, name }) => kind === "vxlan" && name.startsWith("sky."));
    return names.map((name) =>
      name === "kernel.vxlan" && there
        ? ok(name, "this node has such a device")
        : skip(name, `cannot be tried: ${kernel.error}`),
    );
  }
  const { vxlan, veth, nftables, fib, fullyRandom } = kernel.value;
  const found = [
    feature(
      "kernel.vxlan",
      vxlan,
      "a VXLAN device",
      "There is no tunnel: pods reach nothing on other nodes.",
      "Load the module (modprobe vxlan) and have it loaded at boot (/etc/modules-load.d); some cloud kernels ship it in a package of extra modules.",
    ),
    feature("kernel.veth", veth, "a veth pair", "Pods get no interface.", "Load the module (modprobe veth)."),
    feature(
      "kernel.nftables",
      nftables,
      "the table of Skylane's rules",
      "Without its rules the agent does not become ready: nothing is masqueraded and VXLAN from strangers is let in.",
      "Load nf_tables and nft_masq (modprobe), and see that nft is installed where the agent runs.",
    ),
  ];
  if (nftables.works && !(fib && fullyRandom)) {
    const missing = [...(fib ? [] : ["fib (nft_fib_inet)"]), ...(fullyRandom ? [] : ["masquerade fully-random"])];
    found.push(
      warn(
        "kernel.nftables.features",
        `without ${missing.join(" and ")}`,
        fib
          ? "Concurrent connections of pods to one destination may lose their first packet."
          : "Pods can send from addresses that are not theirs.",
        "Load the module nft_fib_inet, or use a kernel that has it.",
      ),
    );
  }
  return found;
}

function forwarding({ sysctls, agent, installed }: Facts): Finding {
  const name = "sysctl.forwarding";
  const keys = sysctls.pending.map(({ key, value }) => `${key} should be ${value}`);
  if (keys.length === 0)
    return ok(name, "IPv4 and IPv6 are forwarded, and uplinks hear router advertisements as before");
  const found = some(keys);
  if (!installed) return ok(name, `${found}; the agent sets it`);
  if ("error" in agent)
    return warn(name, found, "Pods reach nothing outside their node.", "The agent sets it when it runs.");
  return fail(
    name,
    found,
    "Pods reach nothing outside their node, or the node loses its IPv6 default route.",
    "The agent sets this at its start and looks again every 10 seconds, so something sets it back: look in /etc/sysctl.conf, /etc/sysctl.d and what runs sysctl --system.",
  );
}

function reversePath({ sysctls, peers }: Facts): Finding {
  const name = "sysctl.rp_filter";
  const strict = Object.entries(sysctls.rpFilter).flatMap(([device, value]) => (value === "1" ? [device] : []));
  const devices = new Set(peers.flatMap(({ device }) => (device === undefined ? [] : [device])));
  if (strict.length === 0) return ok(name, "loose or off on uplinks");
  if (devices.size <= 1 && strict.every((device) => devices.size === 0 || devices.has(device)))
    return ok(name, `strict on ${some(strict)}, by which all peers are reached`);
  return warn(
    name,
    `strict on ${some(strict)}, while peers are reached by ${some([...devices])}`,
    "VXLAN packets that come in by another interface than answers would leave by are dropped without a trace.",
    `Set net.ipv4.conf.${strict[0]}.rp_filter=2 (loose) in /etc/sysctl.d, or have one interface for all nodes (underlay.interface).`,
  );
}

function conntrack({ sysctls }: Facts): Finding {
  const name = "sysctl.conntrack";
  const [most, now] = [Number(sysctls.conntrackMax), Number(sysctls.conntrackCount)];
  if (!(most > 0)) return skip(name, "the kernel's connection tracking has no limit that can be read here");
  if (!(now > most * 0.8)) return ok(name, `${Number.isFinite(now) ? now : "?"} of ${most} connections`);
  return warn(
    name,
    `${now} of ${most} connections`,
    "When the table is full, packets of new connections are dropped (the kernel's log says: nf_conntrack: table full).",
    "Raise net.netfilter.nf_conntrack_max, or kube-proxy's --conntrack-max-per-core.",
  );
}

function neighbours({ sysctls, peers, neighbours: now }: Facts): Finding {
  const name = "sysctl.neighbours";
  const limits = ([4, 6] as const).flatMap((family) => {
    const limit = Number(sysctls.gcThresh3[family]);
    if (!(limit > 0)) return [];
    const onLink = peers.filter((peer) => peer.onLink && peer.underlayIp.includes(":") === (family === 6)).length;
    return [{ family, limit, need: Math.max(now[family], onLink) }];
  });
  if (limits.length === 0)
    return skip(name, "the limits of the neighbour table are the host's and not seen from this namespace");
  const tight = limits.filter(({ limit, need }) => need > limit * 0.8);
  const text = limits.map(({ family, limit, need }) => `IPv${family} ${need} of ${limit}`).join(", ");
  if (tight.length === 0) return ok(name, text);
  const keys = tight.map(({ family, need }) => `net.ipv${family}.neigh.default.gc_thresh3=${need * 4}`);
  return warn(
    name,
    text,
    "When the table is full, nodes of the same subnet and pods cannot be resolved, now and then (neighbour: arp_cache: neighbor table overflow!). Skylane's own entries are permanent and do not count.",
    `Raise ${keys.join(" and ")}, with gc_thresh1 and gc_thresh2 in proportion.`,
  );
}

/** All about the kernel and its parameters. */
export const judgeKernel = (facts: Facts): Finding[] => [
  version(facts),
  ...features(facts),
  forwarding(facts),
  reversePath(facts),
  ...(facts.sysctls.bridgeNf === "1"
    ? [ok("sysctl.bridge-nf", "on; Skylane has no bridge, so it neither needs nor minds it")]
    : [ok("sysctl.bridge-nf", "off or absent, and not needed: pods are routed, not bridged")]),
  conntrack(facts),
  neighbours(facts),
];
