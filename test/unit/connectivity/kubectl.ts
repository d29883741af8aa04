/**
 * Stands for kubectl and a cluster of three nodes. The program is a script of bash, which starts in no time, and asks this process over the loopback
 * what kubectl would say: its words, a line each, an empty line, what it reads, and a full stop.
 */
import { writeFileSync } from "node:fs";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { Question } from "../../../src/cli/connectivity/peer/questions.ts";

/** How the cluster is. */
export interface State {
  /** What is asked of that pod, of that kind, at that address, has no answer. */
  fails?: readonly (readonly [pod: string, kind: string, ip: string])[];
  /** Keys of datagrams that every pod has got. */
  heard?: readonly string[];
  /** The verb that has no end, and the one that fails. */
  hangs?: string;
  broken?: string;
  /** A pod that does not start. */
  missing?: string;
}

/** One call. */
export interface Call {
  args: string[];
  verb: string;
  input?: { kind?: string; metadata?: { name: string }; items?: { kind: string }[]; questions?: Question[] };
}

const NODES = [1, 2, 3];

export class FakeKubectl {
  state: State = {};
  readonly calls: Call[] = [];
  readonly #server: Server = createServer((socket) => this.#serve(socket));
  readonly #sockets = new Set<Socket>();

  /** Puts the program into a folder. */
  async open(dir: string): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const { port } = this.#server.address() as AddressInfo;
    const script = `#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/${port}
printf '%s\\n' "$@" "" "$(cat)" . >&3
read -r status <&3
[ "$status" = 0 ] || exec >&2
cat <&3
exit "$status"
`;
    writeFileSync(join(dir, "kubectl"), script, { mode: 0o755 });
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, "close");
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    // Whoever hangs is killed.
    socket.on("error", () => socket.destroy());
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (!text.endsWith("\n.\n")) return;
      const [words = "", input = ""] = text.slice(0, -3).split("\n\n");
      const args = words.split("\n");
      const call: Call = { args, verb: args.find((word) => !word.startsWith("-")) ?? "" };
      if (input.trim() !== "") call.input = JSON.parse(input) as NonNullable<Call["input"]>;
      this.calls.push(call);
      if (call.verb === this.state.hangs) return;
      const said = call.verb === this.state.broken ? undefined : this.#answer(call);
      socket.end(
        said === undefined ? "1\nforbidden\n" : `0\n${typeof said === "string" ? said : JSON.stringify(said)}`,
      );
    });
  }

  #answer({ args, verb, input }: Call): unknown {
    const words = args.filter((word) => !word.startsWith("-"));
    if (verb === "get") return this.#get(words, args);
    if (verb !== "exec") return "";
    if (words.at(-1) === "heard") return this.state.heard ?? [];
    const failing = (question: Question): boolean =>
      (this.state.fails ?? []).some(
        ([pod, kind, ip]) => words[1] === pod && kind === question.kind && "ip" in question && question.ip === ip,
      );
    return input?.questions?.map((one) => (failing(one) ? { ok: false, is: "no answer" } : { ok: true, is: "fine" }));
  }

  #get(words: readonly string[], args: readonly string[]): unknown {
    const selects = args.some((word) => word.startsWith("--selector"));
    switch (`${words[1]}${selects ? " selected" : ""}`) {
      case "pods selected":
        return NODES.map((n) => `node${n}\tskylane-${n}\tRunning\tskylane:test${n}\n`).join("");
      case "nodes":
        return [...NODES, 4].map((n) => `node${n}\t10250\t172.30.0.${n} fd30::${n}\n`).join("");
      case "pods":
        return { items: NODES.flatMap((n) => [this.#pod("peer", n), this.#pod("other", n)]) };
      case "events":
        return { items: [{ involvedObject: { name: this.state.missing }, message: "no address is left" }] };
      case "namespaces selected":
        return "namespace/left-1\nnamespace/left-2\n";
      case "services selected":
        return { items: [] };
      case "service":
        return words[2] === "peers"
          ? { spec: { clusterIPs: ["10.96.0.9"] } }
          : { spec: { clusterIPs: ["10.96.0.1"], ports: [{ port: 443 }] } };
      default:
        return undefined;
    }
  }

  #pod(role: string, n: number): object {
    const name = `${role}-${n}`;
    const waiting = { state: { waiting: { reason: "ContainerCreating" } } };
    const ready = {
      conditions: [{ type: "Ready", status: "True" }],
      podIPs: [{ ip: `10.244.${n}.${role === "peer" ? 2 : 3}` }],
    };
    return { metadata: { name }, status: name === this.state.missing ? { containerStatuses: [waiting] } : ready };
  }
}
