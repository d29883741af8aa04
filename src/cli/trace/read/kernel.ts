/** Conversations with the kernel, one a namespace, opened when first needed. */
import { Rtnl } from "../../../netlink/index.ts";
import { SysError } from "../../../sys/index.ts";

/** A namespace cannot be entered from here. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";

  /** @param netns its path */
  constructor(netns: string | undefined, { code }: SysError) {
    super(
      `${netns} cannot be entered from here (${code}); skylanectl trace on the node itself, outside of containers, can`,
    );
  }
}

/** Netlink by namespace. */
export class Kernel implements Disposable {
  readonly #open = new Map<string, Rtnl>();

  /** @param netns path; the process's own where absent @throws Unreachable */
  in(netns: string | undefined): Rtnl {
    const key = netns ?? "";
    let rtnl = this.#open.get(key);
    if (!rtnl) {
      try {
        rtnl = Rtnl.open(netns === undefined ? {} : { netns });
      } catch (cause) {
        if (!(cause instanceof SysError)) throw cause;
        throw new Unreachable(netns, cause);
      }
      this.#open.set(key, rtnl);
    }
    return rtnl;
  }

  [Symbol.dispose](): void {
    for (const rtnl of this.#open.values()) rtnl.close();
    this.#open.clear();
  }
}
