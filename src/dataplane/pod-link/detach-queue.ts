/**
 * Removing pods' links in a process that serves many at once. A link is unreachable, its name and its routes gone, when
 * the kernel announces so; its system call returns only some 20 ms later (see netlink/transport/background.ts). So a removal is
 * over with the announcement, and those that come while another one is under way go together as the next.
 */
import { MAX_LINKS_AT_ONCE, type NetlinkEvent, type Rtnl } from "../../netlink/index.ts";
import { isHostEnd } from "./attach.ts";
import { type DetachRequest, detachFromSandbox } from "./detach.ts";
import { hostIfname } from "./names.ts";

/** Removals whose system calls have not returned yet: each keeps one of libuv's threads. */
const MAX_UNDER_WAY = 3;

interface Removal {
  link: { index: number; name: string };
  done: () => void;
  failed: (error: unknown) => void;
}

/** Removes pods' links of one namespace. */
export class DetachQueue {
  readonly #rtnl: Pick<Rtnl, "link" | "deleteLinks">;
  #waiting: Removal[] = [];
  /** By index: under way, and not announced yet. */
  readonly #removing = new Map<number, Removal>();
  /** All whose system call has not returned. */
  readonly #leaving = new Set<number>();
  #underWay = 0;
  #scheduled = false;

  /** @param rtnl a conversation with the namespace of the host ends, with patience for many changes of others. */
  constructor(rtnl: Pick<Rtnl, "link" | "deleteLinks">) {
    this.#rtnl = rtnl;
  }

  /** As `detachPod`: resolves when the link is unreachable, rejects with NetlinkError when the kernel keeps it. */
  async detach(request: DetachRequest): Promise<void> {
    const name = request.hostIfname ?? hostIfname(request.containerId, request.ifname);
    const end = this.#rtnl.link(name);
    if (!end) return detachFromSandbox(request);
    if (!isHostEnd(end)) return;
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ link: { index: end.index, name }, done: resolve, failed: reject });
      this.#schedule();
    });
  }

  /** Whether a device is being removed here, and what becomes of it meanwhile is no concern of anybody's. */
  isRemoving(index: number): boolean {
    return this.#leaving.has(index);
  }

  /** Takes note of what the kernel announces of the namespace. Missed announcements only cost time. */
  notice(events: readonly NetlinkEvent[]): void {
    for (const event of events) {
      if (event.kind !== "link" || event.event !== "del") continue;
      this.#removing.get(event.link.index)?.done();
      this.#removing.delete(event.link.index);
    }
    this.#schedule();
  }

  /** What the event loop has at hand goes together. */
  #schedule(): void {
    if (this.#scheduled || this.#waiting.length === 0 || this.#removing.size > 0 || this.#underWay >= MAX_UNDER_WAY)
      return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      void this.#remove(this.#waiting.splice(0, MAX_LINKS_AT_ONCE));
    });
  }

  async #remove(removals: readonly Removal[]): Promise<void> {
    this.#underWay++;
    for (const removal of removals) {
      this.#removing.set(removal.link.index, removal);
      this.#leaving.add(removal.link.index);
    }
    try {
      const failures = await this.#rtnl.deleteLinks(removals.map(({ link }) => link));
      const refused = new Map(failures.map(({ operation, error }) => [operation.link.index, error]));
      for (const { link, done, failed } of removals) {
        const error = refused.get(link.index);
        if (error) failed(error);
        else done();
      }
    } catch (error) {
      for (const { failed } of removals) failed(error);
    }
    for (const { link } of removals) {
      this.#removing.delete(link.index);
      this.#leaving.delete(link.index);
    }
    this.#underWay--;
    this.#schedule();
  }
}
