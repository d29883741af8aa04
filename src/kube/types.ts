/** What the rest of Skylane sees of Kubernetes: small, plain objects, and the state of the connection. */

/** Prefix of every annotation that is ours. */
export const ANNOTATION_PREFIX = "skylane.dev/";

/** What Skylane keeps of any Node: its metadata, and of its annotations only our own. */
export interface NodeMeta {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** RFC 3339, as the API server wrote it. */
  readonly creationTimestamp: string;
  /** Only keys that begin with `skylane.dev/`. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** What a Node's metadata does not say, and only its kubelet and the cluster's controllers write. */
export interface NodeDetails {
  /** Of the Node that it is said of. */
  readonly uid: string;
  /** `spec.podCIDRs`, canonical, at most one a family; once given they never change for a Node of that uid. */
  readonly podCidrs: readonly string[];
  /** `status.addresses` that are addresses, canonical. */
  readonly addresses: readonly string[];
  /** Whether its kubelet is heard (condition Ready is not Unknown); absent while nobody has said. */
  readonly heard?: boolean;
}

/** What Skylane keeps of its own Node. */
export interface OwnNodeInfo extends NodeMeta {
  /** `spec.podCIDRs`, canonical; empty until the cluster has given some. */
  readonly podCidrs: readonly string[];
  /** `status.addresses` as they are. */
  readonly addresses: readonly { readonly type: string; readonly address: string }[];
  /** Addresses of type InternalIP, canonical, in the Node's order. */
  readonly internalIps: readonly string[];
  /** Same for type ExternalIP. */
  readonly externalIps: readonly string[];
  /** Status of the condition NetworkUnavailable, where the Node has it. */
  readonly networkUnavailable?: string;
}

/** Everything that happened to a set of objects since the last call, as net effect, each name once. */
export interface Changes<T> {
  readonly added: readonly T[];
  /** Also an object that was deleted and made again under its name meanwhile: `uid` tells. */
  readonly changed: readonly { readonly before: T; readonly after: T }[];
  readonly removed: readonly T[];
  /** Objects whose end an event told, as they were at last; of others that are gone, something may have been missed. */
  readonly ended: readonly T[];
}

/** State of one watch, for metrics and status. Times are milliseconds since the epoch. */
export interface WatchState {
  /** A watch stream is open and delivers. */
  connected: boolean;
  /** When `connected` last changed. */
  since: number;
  /** The set was complete at least once since the start. */
  synced: boolean;
  /** The server does not know the resource at present. */
  absent?: boolean;
  /** The server did not let us read it when it was asked last. */
  forbidden?: boolean;
  /** Last time the whole set was received. */
  lastSync?: number;
  /** Last event or bookmark. */
  lastEvent?: number;
  /** How the set was received last: a streaming list, or pages. */
  mode?: "watchlist" | "list";
  /** Events received, without bookmarks. */
  events: number;
  /** Times that the whole set was received. */
  relists: number;
  /** Attempts that failed, whatever the reason. */
  errors: number;
  /** Lines or objects that could not be understood. */
  malformed: number;
  /** Objects that a complete set left out and that are not confirmed gone yet; they are kept. */
  unconfirmed: number;
  /** Why the last attempt failed; cleared when connected. */
  lastError?: string;
}
