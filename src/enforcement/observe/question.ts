/** What is asked about policies, as it stands in a request. */
import { parseIp } from "../../addr/index.ts";
import { POD_KEY } from "../../crd/index.ts";
import { isNetworkName } from "../../crd/index.ts";
import type { Packet } from "../../policy/index.ts";

/** A question that makes no sense, or is about somebody who is not known; the message says why. */
export class QuestionError extends Error {
  override readonly name = "QuestionError";
}

/** A pod by its name, or somebody by address. */
export type Who = { pod: string } | { ip: string };

/** Which policies a pod has; or what comes of a packet. */
export type Question = ({ pod: Who } | { from: Who; to: Who; traffic: Pick<Packet, "protocol" | "port"> }) & {
  /** The pod network that it is about; the default one by default. */
  network?: string;
};

const PROTOCOLS: Readonly<Record<string, Packet["protocol"]>> = { tcp: "TCP", udp: "UDP", sctp: "SCTP", icmp: "other" };

/** Reads `pod=`, or `from=`, `to=`, `protocol=` (tcp by default) and `port=`; and `network=`. @throws QuestionError */
export function readQuestion(query: URLSearchParams): Question {
  const pod = query.get("pod");
  const [from, to] = [query.get("from"), query.get("to")];
  const name = query.get("network");
  if (name !== null && !isNetworkName(name)) throw new QuestionError(`"${name}" is not the name of a pod network`);
  const network = name === null ? {} : { network: name };
  if (pod !== null) return { pod: whoOf(pod), ...network };
  if (from === null || to === null) throw new QuestionError("say which pod, or from whom to whom");
  const traffic = trafficOf(query.get("protocol") ?? "tcp", query.get("port"));
  return { from: whoOf(from), to: whoOf(to), traffic, ...network };
}

function whoOf(text: string): Who {
  if (POD_KEY.test(text)) return { pod: text };
  try {
    return { ip: parseIp(text) };
  } catch (cause) {
    throw new QuestionError(`"${text}" is neither NAMESPACE/POD nor an address`, { cause });
  }
}

function trafficOf(name: string, text: string | null): Pick<Packet, "protocol" | "port"> {
  const protocol = Object.hasOwn(PROTOCOLS, name) ? PROTOCOLS[name] : undefined;
  if (protocol === undefined)
    throw new QuestionError(`"${name}" is no protocol; there are ${Object.keys(PROTOCOLS).join(", ")}`);
  if (protocol === "other") {
    if (text !== null) throw new QuestionError(`${name} has no ports`);
    return { protocol, port: 0 };
  }
  if (text === null) throw new QuestionError("say which port; for a ping, protocol icmp");
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new QuestionError(`"${text}" is no port: a whole number from 1 to 65535 is`);
  return { protocol, port };
}
