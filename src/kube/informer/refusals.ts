/**
 * Refusals of a whole resource: the server does not let us read it, or does not know it. Either stays so until somebody does
 * something about it, so each is said once, and once more when it is over.
 */
import type { KubeLog } from "./store.ts";

/** What the server last made of one resource. */
export class Refusals {
  private readonly what: string;
  private readonly log: KubeLog | undefined;
  private readonly consequence: string | undefined;
  private isForbidden = false;
  /** How many times it has said that it does not know the resource, since it last did. */
  private absences = 0;

  /** @param what the objects, for messages: "pod networks" @param consequence what it means that they cannot be read; an error then */
  constructor(what: string, log: KubeLog | undefined, consequence?: string) {
    this.what = what;
    this.log = log;
    this.consequence = consequence;
  }

  /** A request has failed. @param status of HTTP: 403 does not let us read the objects, and is said once */
  failed(status: number | undefined, fields: Readonly<Record<string, unknown>>): void {
    if (status !== 403) this.log?.warn(`watch of ${this.what} interrupted`, fields);
    if (status !== 403 || this.isForbidden) return;
    this.isForbidden = true;
    const refused = `the API server does not let this agent read ${this.what}`;
    const cure = "its role may be that of an older release; trying again until it may";
    if (this.consequence === undefined) this.log?.warn(`${refused}: ${cure}`, fields);
    else this.log?.error(`${refused}: ${this.consequence}; ${cure}`, fields);
  }

  /**
   * It does not know the resource. Whether those that were known are gone: they are when it says so twice. One that is
   * just starting may answer so about resources that it is yet to learn of.
   * @param known how many @param first whether nothing has ever been received
   */
  absent(known: number, first: boolean): boolean {
    const gone = ++this.absences > 1 || known === 0;
    const none = `the API server knows no ${this.what}`;
    if (!gone) this.log?.warn(`${none} any more; those known go when it says so again`, { known });
    else if (known > 0) this.log?.warn(`${none} any more: those known are gone`, { known });
    else if (first) this.log?.info(`${none}; looking again from time to time`);
    return gone;
  }

  /** It has listed the objects. A watch may be refused all the same. */
  listed(): void {
    this.absences = 0;
  }

  /** It lets us watch them. */
  opened(): void {
    this.absences = 0;
    if (this.isForbidden) this.log?.info(`the API server lets this agent read ${this.what} now`);
    this.isForbidden = false;
  }
}
