/**
 * The hostile suite: each test tries one attack in a lab and says in words what came of it. What was tried is printed
 * as a table when a file ends, so that a reader of the output sees what Skylane was held against.
 *
 * A hostile *node* is one whose agent's token and root somebody holds: {@link hostileNode} freezes its agent, so that
 * nobody puts right what the attacker writes. A hostile *pod* has a container's default capabilities, NET_RAW among
 * them. A *stranger* is on the underlay and is no node.
 */
import type { Lab } from "../../../lab/index.ts";
import { VTEP_ANNOTATION } from "../../../src/peers/index.ts";

/** Who attacks. */
export type Attacker = "node" | "pod" | "stranger";

interface Outcome {
  who: Attacker;
  what: string;
  came: string;
}

/**
 * One attack as a test. Call it in a `describe` body.
 * @param what is tried, in words, as "announces the API server's address as its pod CIDR"
 * @param run tries it, fails where it did harm, and returns what came of it, as "refused by name; all pods still reach the API server"
 */
export function attack(who: Attacker, what: string, run: (this: Mocha.Context) => Promise<string>): void {
  const outcomes = outcomesOfSuite();
  it(`a hostile ${who} ${what}`, async function () {
    const outcome = { who, what, came: "DID HARM" };
    outcomes.push(outcome);
    outcome.came = await run.call(this);
  });
}

let current: Outcome[] | undefined;

/** The list of the file whose tests are being defined; it is printed after the file's last test. */
function outcomesOfSuite(): Outcome[] {
  if (current) return current;
  const outcomes: Outcome[] = (current = []);
  after("what was tried", () => {
    current = undefined;
    for (const { who, what, came } of outcomes) console.log(`  tried: ${who} ${what}: ${came}`);
  });
  return outcomes;
}

/** One network's entry of the annotation, as anyone may write it. */
export type Entry = Record<string, unknown>;

/** What somebody does who holds the token of a node's agent. */
export interface HostileNode {
  name: string;
  /** Writes the annotation as it is given, as the node's agent could. */
  announce(text: string): Promise<void>;
  /** Changes one network's entry ("default" unless named) of what the node's agent had announced. */
  change(change: Entry, network?: string): Promise<void>;
  /** Puts back what the agent had announced, and lets the agent go on. */
  repent(): Promise<void>;
}

/**
 * Takes a node of a lab over: its agent is frozen for as long as the attack lasts.
 * @throws Error when its agent has announced nothing yet
 */
export async function hostileNode(lab: Lab, name: string): Promise<HostileNode> {
  const path = `/api/v1/nodes/${name}`;
  const { metadata } = await lab.api.call("GET", path);
  const honest = metadata.annotations?.[VTEP_ANNOTATION];
  if (honest === undefined) throw new Error(`${name} has announced nothing`);
  const announce = async (text: string): Promise<void> => {
    const patch = { metadata: { annotations: { [VTEP_ANNOTATION]: text } } };
    await lab.api.call("PATCH", path, patch, "application/merge-patch+json");
  };
  // frozen, not ended: the node's supervisor would start another one
  const agent = (signal: string) => lab.exec(name, "pkill", `-${signal}`, "-f", "skylane-agent.cjs");
  await agent("STOP");
  return {
    name,
    announce,
    change: (change, network = "default") => {
      const entries = JSON.parse(honest) as Record<string, Entry>;
      return announce(JSON.stringify({ ...entries, [network]: { ...entries[network], ...change } }));
    },
    repent: async () => {
      await announce(honest);
      await agent("CONT");
    },
  };
}
