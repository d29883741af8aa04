/**
 * Kubernetes' own end-to-end tests of network policies and host ports, on a real cluster on this machine with Skylane's manifest. Prints what failed, and as the
 * last line `N passed, N failed, N skipped`.
 *
 *   npm run test:e2e                      all of them
 *   npm run test:e2e -- 'named port'      those of them whose name matches
 *
 * SKYLANE_TEST_KEEP leaves the cluster up, as in the cluster tests.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { manifestFor } from "../test/cluster/parts/install.ts";
import type { Context } from "../test/cluster/support/context.ts";
import { Kube } from "../test/cluster/support/kube.ts";
import { type Machine, openMachine } from "../test/cluster/support/machine.ts";

const BUILD = fileURLToPath(new URL("../test/cluster/machine/build-e2e.sh", import.meta.url));
const BUILT = "/opt/kube/e2e";

/** Tests of one kind, by a part of their names as an expression. */
interface Kind {
  name: string;
  atATime: number;
}
const KINDS: readonly Kind[] = [
  // Most of what they do is wait for packets that must not come.
  { name: String.raw`\[Feature:NetworkPolicy\]`, atATime: 2 * availableParallelism() },
  // They fill nodes, and say that they want no other tests beside them.
  { name: "[hH]ostPort", atATime: 1 },
];
/** What cannot run everywhere: a part of the tests' names, whether it can here, and what it needs. */
const NEEDS: readonly { name: string; here: () => boolean; what: string }[] = [
  { name: "[Feature:SCTPConnectivity]", here: () => existsSync("/proc/net/sctp"), what: "a kernel with SCTP" },
  // It sends nothing: it looks for a rule in iptables' chains, where Skylane has none.
  {
    name: "should create a Pod with SCTP HostPort",
    here: () => false,
    what: "the iptables rules of the plugin portmap",
  },
];

type Outcome = "passed" | "failed" | "skipped";
interface Case {
  name: string;
  outcome: Outcome;
  seconds: number;
  text: string;
}

const quoted = (text: string): string => text.replace(/[[\](){}.*+?^$|\\]/g, "\\$&");
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
const plain = (xml: string): string =>
  xml.replace(/&(?:#(x?)([0-9A-Fa-f]+)|([a-z]+));/g, (whole, hex: string, code: string | undefined, name: string) =>
    code === undefined ? (ENTITIES[name] ?? whole) : String.fromCodePoint(Number.parseInt(code, hex ? 16 : 10)),
  );

/**
 * The cases that were wanted, and all that failed, of ginkgo's reports in JUnit's form: one report for each of its processes, of which each names
 * everything that is left out.
 */
function casesOf(folder: string, wanted: RegExp): Case[] {
  const texts = readdirSync(folder)
    .filter((file) => /^junit.*\.xml$/.test(file))
    .map((file) => readFileSync(join(folder, file), "utf8"));
  const all = texts.flatMap((text) =>
    [...text.matchAll(/<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)].map(([, attributes = "", body = ""]) => {
      const attribute = (key: string): string =>
        plain(new RegExp(`(?:^|\\s)${key}="([^"]*)"`).exec(attributes)?.[1] ?? "");
      const failure = /<failure[^>]*>([\s\S]*?)<\/failure>/.exec(body)?.[1];
      const outcome: Outcome = failure !== undefined ? "failed" : body.includes("<skipped") ? "skipped" : "passed";
      return { name: attribute("name"), seconds: Number(attribute("time")), outcome, text: plain(failure ?? "") };
    }),
  );
  const cases = all.filter(({ name, outcome }) => outcome === "failed" || wanted.test(name));
  const ran = new Set<string>();
  return cases
    .sort((a, b) => Number(a.outcome === "skipped") - Number(b.outcome === "skipped"))
    .filter(({ name, outcome }) => {
      const again = outcome === "skipped" && ran.has(name);
      ran.add(name);
      return !again;
    });
}

/** Runs the tests of a kind where the API server is, and returns what came of them. @throws Error when they cannot be run to their end */
async function runTests(machine: Machine, { name: kind, atATime }: Kind, only: string | undefined): Promise<Case[]> {
  const { kubectlCommand } = machine;
  const [command = "", ...where] = kubectlCommand.slice(0, kubectlCommand.indexOf("kubectl"));
  const kubeconfig = kubectlCommand.at(-1) as string;
  const unable = NEEDS.filter(({ here }) => !here());
  const skip = unable.length > 0 ? [`-skip=${unable.map(({ name }) => quoted(name)).join("|")}`] : [];
  const ofKind = (words: string): string =>
    new RegExp(kind).test(words) ? words : `${kind}.*(${words})|(${words}).*${kind}`;
  const focus = only === undefined ? kind : ofKind(only);
  const reports = mkdtempSync(join(tmpdir(), "skylane-e2e-"));
  try {
    const ginkgo = [join(BUILT, "ginkgo"), `-nodes=${atATime}`, "-noColor", `-focus=${focus}`, ...skip];
    const tests = [join(BUILT, "e2e.test"), "--", "--provider=skeleton", `--kubeconfig=${kubeconfig}`];
    const options = [`--report-dir=${reports}`, "--disable-log-dump"];
    const child = spawn(command, [...where, ...ginkgo, ...tests, ...options], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    const [status, signal] = (await once(child, "close")) as [number | null, string | null];
    const cases = casesOf(reports, new RegExp(focus));
    if (status !== 0 && !cases.some(({ outcome }) => outcome === "failed"))
      throw new Error(`ginkgo ended with ${signal ?? `status ${status}`} although no test failed`);
    return cases;
  } finally {
    rmSync(reports, { recursive: true, force: true });
  }
}

/** A cluster with Skylane, the tests on it, and its end. */
async function main(only: string | undefined): Promise<Case[]> {
  console.log("Kubernetes' end-to-end tests (built from Debian's source on a new machine: about 15 minutes)");
  const built = execFileSync(BUILD, [BUILT], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  const [agnhost, pause] = built.trim().split("\n") as [string, string];
  const machine = await openMachine();
  try {
    if (!machine.hardware) throw new Error("these tests bring their own cluster: unset SKYLANE_TEST_KUBECONFIG");
    const kube = new Kube(machine);
    const nodes = (await kube.list("nodes")).map((node) => node.metadata.name);
    // Some tests' pods say nothing, and are to wait for what is run in them: the real image waits then.
    await machine.hardware.image(agnhost, join(BUILT, "rootfs"), "/agnhost", "pause");
    await machine.hardware.image(pause, join(BUILT, "rootfs"), "/pause");
    const context: Context = { machine, kube, nodes, pods: [] };
    await machine.kubectl(["apply", "-f", "-"], await manifestFor(context));
    await kube.nodesReady(nodes.length);
    await kube.agentsReady(nodes.length);
    for (const { name, here, what } of NEEDS)
      if (!here()) console.log(`NOT RUN: tests of ${name}, since they need ${what}; they count as skipped`);
    const cases: Case[] = [];
    for (const kind of KINDS) cases.push(...(await runTests(machine, kind, only)));
    if (cases.some(({ outcome }) => outcome === "failed")) console.log(await kube.whatIsWrong());
    return cases;
  } finally {
    if (process.env["SKYLANE_TEST_KEEP"] === undefined) await machine.down();
  }
}

const started = performance.now();
const sum: Record<Outcome, number> = { passed: 0, failed: 0, skipped: 0 };
try {
  const cases = await main(process.argv[2]);
  for (const { name, outcome, seconds } of cases) {
    sum[outcome]++;
    console.log(`${outcome}: ${name}${outcome === "skipped" ? "" : ` (${seconds.toFixed(0)} s)`}`);
  }
  for (const { name, text } of cases.filter(({ outcome }) => outcome === "failed"))
    console.log(`failed: ${name}\n${text.split("\n").slice(0, 12).join("\n")}`);
  if (sum.passed + sum.failed === 0) throw new Error("no test was run");
} catch (error) {
  sum.failed++;
  console.log(`failed: ${error instanceof Error ? error.message : String(error)}`);
}
console.log(`it took ${Math.round((performance.now() - started) / 1000)} s`);
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed === 0 ? 0 : 1;
