/**
 * The network namespace of a pod network on this node. It is an open descriptor first of all, and works from the moment that
 * it is made. Its name under /run/netns is a mount, which keeps it when the process that made it ends; who sees
 * only a copy of the host's mounts, as a container does, cannot make it, and does not see one that is made after it started.
 * So the path stands for the descriptor in this process for as long as that is open, and somebody in the
 * host's own mount namespace is asked to make and remove the mount (see cni-server/launcher-mounter.ts).
 */
import { readdirSync } from "node:fs";
import { closeFd, lendNetns, newNetns, openNetns, SysError } from "../../sys/index.ts";
import { settle } from "./settings.ts";

/** Where named network namespaces are, as iproute2 and container runtimes have it. */
const NETNS_DIR = "/run/netns";
const PREFIX = "sky-";
/** A DNS label of up to forty characters, as the names of pod networks are. */
const NETWORK = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;
/** The kernel's words for a path at which there is no namespace: nothing, or the file that a mount has left. */
const ABSENT = new Set(["ENOENT", "ENOTDIR", "EINVAL"]);

/** The name of a pod network's namespace, `sky-<network>`. @throws RangeError when no pod network can be called so */
export function networkNetnsName(network: string): string {
  if (!NETWORK.test(network)) throw new RangeError(`${JSON.stringify(network)} is not the name of a pod network`);
  return `${PREFIX}${network}`;
}

/** The path of a pod network's namespace. @throws RangeError */
export const networkNetnsPath = (network: string, netnsDir = NETNS_DIR): string =>
  `${netnsDir}/${networkNetnsName(network)}`;

/** The open namespace of a pod network. */
export class NetworkNetns implements Disposable {
  readonly network: string;
  /** `sky-<network>`. */
  readonly name: string;
  /** What it is called in records and configurations; in this process it leads here while that is open. */
  readonly path: string;
  /** Its descriptor, which is its own. */
  readonly fd: number;
  /** It was found by its path: somebody holds it there. A new one goes with its last descriptor. */
  readonly found: boolean;
  readonly #loan: Disposable;
  #open = true;

  /** Takes over the descriptor. @throws Error when the path stands for another open namespace in this process */
  constructor(network: string, fd: number, { netnsDir, found }: { netnsDir: string; found: boolean }) {
    this.network = network;
    this.name = networkNetnsName(network);
    this.path = networkNetnsPath(network, netnsDir);
    this.fd = fd;
    this.found = found;
    const loan = lendNetns(this.path, fd);
    if (!loan) throw new Error(`${this.path} stands for another namespace that this process has open`);
    this.#loan = loan;
  }

  /** Puts its settings right, as they were when it was opened; returns what was not, in words. @throws SysError, NetlinkError */
  settle(): string[] {
    return settle(this.fd);
  }

  /** Lets go of it; a second call does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#loan[Symbol.dispose]();
    closeFd(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function networkNetnsOf(network: string, fd: number, how: { netnsDir: string; found: boolean }): NetworkNetns {
  try {
    settle(fd);
    return new NetworkNetns(network, fd, how);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** Opens a pod network's namespace where its path leads to one; undefined where it does not. @throws SysError, RangeError, NetlinkError */
export function openNetworkNetns(network: string, netnsDir = NETNS_DIR): NetworkNetns | undefined {
  let fd: number;
  try {
    fd = openNetns(networkNetnsPath(network, netnsDir));
  } catch (error) {
    if (error instanceof SysError && ABSENT.has(error.code)) return undefined;
    throw error;
  }
  return networkNetnsOf(network, fd, { netnsDir, found: true });
}

/** Makes a namespace for a pod network, which has no name yet: it goes with its last descriptor. @throws SysError, RangeError, NetlinkError */
function newNetworkNetns(network: string, netnsDir = NETNS_DIR): NetworkNetns {
  networkNetnsName(network);
  return networkNetnsOf(network, newNetns(), { netnsDir, found: false });
}

/** The namespace of a pod network: the one that is there, or else a new one. @throws SysError, RangeError, NetlinkError */
export const ensureNetworkNetns = (network: string, netnsDir = NETNS_DIR): NetworkNetns =>
  openNetworkNetns(network, netnsDir) ?? newNetworkNetns(network, netnsDir);

/** The pod networks whose namespaces have names here, also files that a mount has left. @throws Error of readdir(3) */
export function listNetworkNetns(netnsDir = NETNS_DIR): string[] {
  let names: string[];
  try {
    names = readdirSync(netnsDir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  return names
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => name.slice(PREFIX.length))
    .filter((name) => NETWORK.test(name))
    .sort();
}
