/**
 * Published state for a process that asks for it again and again: a file that is still the same is not parsed and checked
 * again. It is written by renaming, so a change always makes another file.
 */
import { statSync } from "node:fs";
import { type PublishedNetwork, publishedPath, readPublished } from "./published.ts";

/** What tells one version of a file from the next. */
interface Version {
  ino: number;
  size: number;
  mtimeMs: number;
  ctimeMs: number;
}

const same = (a: Version, b: Version): boolean =>
  a.ino === b.ino && a.size === b.size && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs;

/** A {@link readPublished} that remembers. */
export function publishedReader(): typeof readPublished {
  const known = new Map<string, { version: Version; published: PublishedNetwork }>();
  return (runDir, network) => {
    const path = publishedPath(runDir, network);
    const version = statSync(path, { throwIfNoEntry: false });
    const before = known.get(path);
    if (before && version && same(before.version, version)) return before.published;
    known.delete(path);
    const published = readPublished(runDir, network);
    // What was looked at before is never newer than what was read after it.
    if (published && version) known.set(path, { version, published });
    return published;
  };
}
