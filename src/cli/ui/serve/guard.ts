/**
 * Who gets an answer: whoever has the token that is in the address which was printed, asks under a name of this machine itself, and only reads. A page of
 * somebody else's that has its own name lead to 127.0.0.1 (DNS rebinding) asks under that name, and other users of the machine do not know the token.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";

/** Names that only this machine has. A tunnel (`ssh -L`) may bring a request to another port than it was made for. */
const NAMES = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?$/i;

/** What is asked for, or why nobody gets it. */
export type Admission = { path: string; query: URLSearchParams } | { status: 403 | 404 | 405; why: string };

/** @param token first part of each path */
export function admit(
  { method, url = "", headers }: Pick<IncomingMessage, "method" | "url" | "headers">,
  token: string,
): Admission {
  if (!NAMES.test(headers.host ?? ""))
    return { status: 403, why: "this is served to this machine alone, by its own name" };
  if (headers["sec-fetch-site"] === "cross-site") return { status: 403, why: "another site's page may not ask this" };
  if (method !== "GET") return { status: 405, why: "only GET is served here" };
  const [path = "", search = ""] = url.split("?", 2);
  const [, given, ...rest] = path.split("/");
  if (!same(given ?? "", token)) return { status: 403, why: "open the address that was printed, with its token" };
  if (rest.length !== 1) return { status: 404, why: "there is nothing by this name" };
  return { path: rest[0] as string, query: new URLSearchParams(search) };
}

/** Compared by digests, which takes as long whatever the two have in common. */
function same(given: string, token: string): boolean {
  const digest = (of: string): Buffer => createHash("sha256").update(of).digest();
  return timingSafeEqual(digest(given), digest(token));
}
