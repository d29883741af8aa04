/**
 * A store of objects that keeps the API server's rules for names, uids and resourceVersions, and loses answers: of a write
 * that was done, that was not, or that is done later. Its views are behind by as much as it likes.
 */
import { isDeepStrictEqual } from "node:util";
import { ApiError } from "../../../src/kube/index.ts";
import { type ApiObject, type Block, type BlockObjects, readBlock } from "../../../src/ipam/blocks/index.ts";

/** 0 ≤ x < 1, the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export type Fault = "none" | "refused" | "lost" | "done" | "late";

/** The store. */
export class FakeApi {
  readonly objects = new Map<string, ApiObject>();
  readonly history: Block[][] = [[]];
  /** What happens to the next request of a node. */
  fault: (verb: string, name: string) => Fault = () => "none";
  /** Run before every request is served: other things happen meanwhile. */
  meanwhile: () => Promise<void> = () => Promise.resolve();
  requests: string[] = [];
  #version = 0;
  #late: (() => void)[] = [];

  blocks(): Block[] {
    return [...this.objects.values()].map((object) => readBlock(structuredClone(object)));
  }

  /** Does one of the writes that were lost on their way. */
  deliver(random: () => number): void {
    const [write] = this.#late.splice(Math.floor(random() * this.#late.length), 1);
    try {
      write?.();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // nobody hears of it
    }
  }

  deliverAll(): void {
    while (this.#late.length > 0) this.deliver(() => 0);
  }

  client(): BlockObjects {
    return {
      create: (object) => this.serve("create", object.metadata.name, () => this.#create(object)),
      get: (name) => this.serve("get", name, () => this.objects.get(name)),
      replace: (object) => this.serve("replace", object.metadata.name, () => this.#replace(object)),
      delete: (name, uid, version) => this.serve("delete", name, () => this.#delete(name, uid, version)),
      list: (selector) =>
        this.serve("list", selector, () => [...this.objects.values()].filter((object) => matches(selector, object))),
    };
  }

  /** Puts an object there as somebody else, such as an operator. */
  put(object: ApiObject): ApiObject {
    return this.#create(object);
  }

  /** Removes one as somebody else. */
  remove(name: string): void {
    this.objects.delete(name);
    this.#note();
  }

  /** Does a request, or what becomes of one that meets a fault; for other objects of the same server as well. */
  serve = async <T>(verb: string, name: string, act: () => T): Promise<T> => {
    await this.meanwhile();
    this.requests.push(`${verb} ${name}`);
    const fault = this.fault(verb, name);
    if (fault === "refused") throw new ApiError(`${verb} ${name}`, 500, { reason: "InternalError" });
    const write = verb !== "get" && verb !== "list";
    if (fault === "late" && write) this.#late.push(act);
    if (fault === "done" && write) this.#quietly(act);
    if (fault !== "none") throw new ApiError(`${verb} ${name}`, 0, { message: "no complete answer" });
    const answer = structuredClone(act());
    await this.meanwhile();
    return answer;
  };

  #quietly(act: () => unknown): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  #create(given: ApiObject): ApiObject {
    const { name } = given.metadata;
    if (this.objects.has(name)) throw new ApiError("POST", 409, { reason: "AlreadyExists", name });
    const resourceVersion = String(++this.#version);
    const object = structuredClone(given);
    object.metadata = {
      ...object.metadata,
      uid: `uid-${resourceVersion}`,
      resourceVersion,
      creationTimestamp: "2026-01-01T00:00:00Z",
    };
    this.objects.set(name, object);
    this.#note();
    return object;
  }

  #replace(given: ApiObject): ApiObject {
    const { name, resourceVersion, uid } = given.metadata;
    const now = this.objects.get(name);
    if (now === undefined) throw new ApiError("PUT", 404, { reason: "NotFound", name });
    if (now.metadata.resourceVersion !== resourceVersion || now.metadata.uid !== uid)
      throw new ApiError("PUT", 409, { reason: "Conflict", name });
    // As on a real server, what changes nothing is no new version.
    if (isDeepStrictEqual(now, given)) return now;
    const object = structuredClone(given);
    object.metadata.resourceVersion = String(++this.#version);
    this.objects.set(name, object);
    this.#note();
    return object;
  }

  #delete(name: string, uid: string, version?: string): void {
    const now = this.objects.get(name);
    if (now === undefined) throw new ApiError("DELETE", 404, { reason: "NotFound", name });
    if (now.metadata.uid !== uid || (version !== undefined && now.metadata.resourceVersion !== version))
      throw new ApiError("DELETE", 409, { reason: "Conflict", name });
    this.remove(name);
  }

  #note(): void {
    this.history.push(this.blocks());
  }
}

/** What a reflector shows: a state of the past that never goes back. */
export class View {
  readonly #api: FakeApi;
  #at = 0;

  constructor(api: FakeApi) {
    this.#api = api;
  }

  /** Goes some way towards now. */
  advance(share: number): void {
    const newest = this.#api.history.length - 1;
    this.#at += Math.ceil((newest - this.#at) * share);
  }

  read(): Block[] {
    return this.#api.history[this.#at] ?? [];
  }
}

function matches(selector: string, { metadata: { labels = {} } }: ApiObject): boolean {
  return selector.split(/,(?![^(]*\))/).every((part) => {
    const [, key = "", set = ""] = /^(\S+) notin \((.*)\)$/.exec(part) ?? [];
    if (key !== "") return !set.split(",").includes(labels[key] ?? "");
    if (part.startsWith("!")) return labels[part.slice(1)] === undefined;
    const [name = "", value] = part.split("=");
    return labels[name] === value;
  });
}
