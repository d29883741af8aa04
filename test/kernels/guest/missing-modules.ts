/** A kernel without some of its modules, as where a distribution has them in a package of their own: what is missing is named, and nothing is said to work that does not. */
import { rmSync, writeFileSync } from "node:fs";
import { shown } from "./command.ts";
import type { Trial } from "./main.ts";
import { kernelTests } from "./tests.ts";

/** What `skylanectl doctor` prints with `-o json`, as far as it is looked at here. */
interface Findings {
  findings: { check: string; level: string; found: string }[];
}

/** modprobe.d(5): asked for one of these, modprobe does nothing and fails. */
const FILE = "/etc/modprobe.d/skylane-missing.conf";

/** Modules, and which check of the doctor's ends how without them. None of them is loaded yet when its turn comes: later ones need earlier ones. */
const MISSING = [
  {
    modules: ["vxlan", "veth", "nf_tables"],
    expected: [
      ["kernel.vxlan", "fail"],
      ["kernel.veth", "fail"],
      ["kernel.nftables", "fail"],
    ],
  },
  {
    modules: ["nft_fib_inet", "wireguard"],
    expected: [
      ["kernel.vxlan", "ok"],
      ["kernel.veth", "ok"],
      ["kernel.nftables", "ok"],
      ["kernel.nftables.features", "warn"],
    ],
  },
] as const;
/** What an agent that is to encrypt says where there is no WireGuard, and what it keeps back. */
const TESTS = ["kernel/encryption/reconciler", "kernel/agent/encryption"];

/** @throws Error when the doctor does not say what is missing, or an agent does not */
export async function withoutModules(): ReturnType<Trial> {
  try {
    for (const { modules, expected } of MISSING) {
      writeFileSync(FILE, modules.map((module) => `install ${module} /bin/false\n`).join(""));
      const { text } = await shown("dist/bin/skylanectl", "doctor", "-o", "json");
      const { findings } = JSON.parse(text) as Findings;
      for (const [check, level] of expected) {
        const found = findings.find((one) => one.check === check);
        if (found?.level !== level)
          throw new Error(
            `without ${modules.join(", ")} the doctor says ${found ? `${found.level} (${found.found})` : "nothing"} of ${check}, not ${level}`,
          );
      }
    }
    const { outcome, says } = await kernelTests(TESTS);
    if (outcome !== "passed") throw new Error(`without WireGuard: ${says}`);
    return { says: `named without ${MISSING.flatMap(({ modules }) => modules).join(", ")}` };
  } finally {
    rmSync(FILE, { force: true });
  }
}
