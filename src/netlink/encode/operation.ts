/**
 * Operations as netlink messages: which type and flags each verb of each kind of object has.
 */
import { Flags, FlagsNew, RTM } from "../constants.ts";
import type { Operation } from "../types.ts";
import type { MessageWriter } from "../transport/writer.ts";
import { address } from "./address.ts";
import { ifinfomsg, newLink, setLink } from "./link.ts";
import { bridgeFdb, fdb, neighbour } from "./neighbour.ts";
import { filter, qdisc } from "./qdisc.ts";
import { route } from "./route.ts";
import { rule } from "./rule.ts";

const VERB_FLAGS = {
  add: Flags.REQUEST | FlagsNew.CREATE | FlagsNew.EXCL,
  replace: Flags.REQUEST | FlagsNew.CREATE | FlagsNew.REPLACE,
  append: Flags.REQUEST | FlagsNew.CREATE | FlagsNew.APPEND,
  set: Flags.REQUEST,
  del: Flags.REQUEST,
} as const;

/**
 * Writes an operation as one message, which asks for no acknowledgement.
 * @throws RangeError when a value cannot be encoded (a name with a zero byte, a malformed prefix)
 */
export function writeOperation(w: MessageWriter, operation: Operation, seq: number): void {
  const flags = VERB_FLAGS[operation.op];
  const deleting = operation.op === "del";
  switch (operation.kind) {
    case "link": {
      const type = deleting ? RTM.DELLINK : RTM.NEWLINK;
      return w.message(type, flags, seq, () => {
        if (operation.op === "add") newLink(w, operation.link);
        else if (operation.op === "set") setLink(w, operation.link);
        else ifinfomsg(w, operation.link.index);
      });
    }
    case "address":
      return w.message(deleting ? RTM.DELADDR : RTM.NEWADDR, flags, seq, () => address(w, operation.address));
    case "route":
      return w.message(deleting ? RTM.DELROUTE : RTM.NEWROUTE, flags, seq, () => route(w, operation.route, deleting));
    case "neighbour":
      return w.message(deleting ? RTM.DELNEIGH : RTM.NEWNEIGH, flags, seq, () => neighbour(w, operation.neighbour));
    case "fdb":
      return w.message(deleting ? RTM.DELNEIGH : RTM.NEWNEIGH, flags, seq, () => fdb(w, operation.fdb));
    case "bridgeFdb":
      return w.message(deleting ? RTM.DELNEIGH : RTM.NEWNEIGH, flags, seq, () => bridgeFdb(w, operation.bridgeFdb));
    case "rule":
      return w.message(deleting ? RTM.DELRULE : RTM.NEWRULE, flags, seq, () => rule(w, operation.rule));
    case "qdisc":
      return w.message(deleting ? RTM.DELQDISC : RTM.NEWQDISC, flags, seq, () => qdisc(w, operation.qdisc, deleting));
    case "filter":
      return w.message(deleting ? RTM.DELTFILTER : RTM.NEWTFILTER, flags, seq, () =>
        filter(w, operation.filter, deleting),
      );
  }
}
