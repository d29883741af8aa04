/** A trace that somebody on the page has asked for: between two pods of the map, in the default network, as `kubectl skylane trace` makes it. */
import { CommandError } from "../../command.ts";
import { describeError } from "../../main.ts";
import { type RunThere, traceBoth } from "../../trace/both.ts";
import type { World } from "../model/world.ts";
import type { MapTrace } from "../wire.ts";

/** Traces at a time: each runs a command on two nodes. */
const AT_ONCE = 2;

const familyOf = (ip: string): string => (ip.includes(":") ? "6" : "4");

export class Traces {
  readonly #world: World;
  readonly #run: RunThere;
  #underWay = 0;

  constructor(world: World, run: RunThere) {
    this.#world = world;
    this.#run = run;
  }

  /** Never rejects: why there is none is part of the answer. @param query `from` and `to`: NAMESPACE/NAME */
  async answer(query: URLSearchParams): Promise<MapTrace> {
    if (this.#underWay >= AT_ONCE) return { error: "two traces are being made already: ask again" };
    this.#underWay++;
    try {
      return { trace: await this.#trace(query.get("from") ?? "", query.get("to") ?? "") };
    } catch (error) {
      return { error: describeError(error) };
    } finally {
      this.#underWay--;
    }
  }

  async #trace(from: string, to: string): Promise<NonNullable<MapTrace["trace"]>> {
    const [source, target] = [this.#placed(from), this.#placed(to)];
    for (const ip of source.ips)
      for (const other of target.ips)
        if (familyOf(ip) === familyOf(other))
          return await traceBoth(this.#run, { ip, node: source.node }, { ip: other, node: target.node }, []);
    throw new CommandError(`${from} and ${to} have no address family in common`);
  }

  /** @throws CommandError when there is no such pod with an address */
  #placed(key: string): { node: string; ips: readonly string[] } {
    const pod = this.#world.pod(key);
    if (pod?.node === undefined || pod.ips.length === 0) throw new CommandError(`no pod "${key}" runs`);
    return { node: pod.node, ips: pod.ips };
  }
}
