/**
 * Being told that something in a directory has changed, and that the directory itself went or came (inotify(7), through
 * node:fs). A watch is of an inode, so it ends with its directory; the one above is watched as well, and {@link PathWatch.arm}
 * goes over to whatever has the name by then. Only that something happened is told, never what: whoever hears it looks.
 */
import { type FSWatcher, statSync, watch } from "node:fs";
import { basename, dirname } from "node:path";

interface Armed {
  watcher: FSWatcher;
  /** Which directory is watched: its device and inode. */
  identity: string;
}

/** Watches directories from {@link arm} to {@link close}. */
export class PathWatch {
  readonly #paths: () => Iterable<string>;
  readonly #onChange: () => void;
  readonly #armed = new Map<string, Armed>();
  #closed = false;

  /**
   * @param paths the directories, as they are when it is armed.
   * @param onChange something may have changed in, or about, one of them.
   */
  constructor(paths: () => Iterable<string>, onChange: () => void) {
    this.#paths = paths;
    this.#onChange = onChange;
  }

  /**
   * Watches what there is now of the directories. To be called before each look: what happens after it is told.
   * @returns the errors of those that cannot be watched (ENOSPC: the machine's limit of inotify watches is reached)
   */
  arm(): Error[] {
    if (this.#closed) return [];
    const wanted = new Map<string, Set<string> | undefined>();
    for (const path of this.#paths()) {
      // the directory whatever happens in it, and those above it for the one name that leads there
      wanted.set(path, undefined);
      for (let child = path, above = dirname(path); above !== child; child = above, above = dirname(above)) {
        const names = wanted.get(above);
        if (!wanted.has(above)) wanted.set(above, new Set([basename(child)]));
        else names?.add(basename(child));
        if (identityOf(above) !== undefined) break;
      }
    }
    for (const [path, { watcher }] of this.#armed) {
      if (wanted.has(path)) continue;
      watcher.close();
      this.#armed.delete(path);
    }
    return [...wanted.keys()].flatMap((path) => {
      try {
        this.#watch(path, wanted.get(path));
        return [];
      } catch (error) {
        return [error as Error];
      }
    });
  }

  /** Watches no more. */
  close(): void {
    this.#closed = true;
    for (const { watcher } of this.#armed.values()) watcher.close();
    this.#armed.clear();
  }

  /** @throws Error of inotify(7) with its `code` */
  #watch(path: string, names: ReadonlySet<string> | undefined): void {
    const identity = identityOf(path);
    const before = this.#armed.get(path);
    // a narrow watch must not stay narrow when the directory itself is wanted, so the names are part of what it is
    const key = identity && `${identity} ${names ? [...names].sort().join("/") : "*"}`;
    if (before?.identity === key) return;
    before?.watcher.close();
    this.#armed.delete(path);
    if (key === undefined) return;
    let watcher: FSWatcher;
    try {
      watcher = watch(path, { persistent: false });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return; // went meanwhile: the one above tells
      throw error;
    }
    const self = basename(path);
    watcher.on("change", (_what, name) => {
      // what happens to the directory itself is told under its own name
      if (!names || name === null || name === self || names.has(String(name))) this.#onChange();
    });
    watcher.on("error", () => this.#onChange());
    this.#armed.set(path, { watcher, identity: key });
  }
}

function identityOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isDirectory() ? `${stat.dev}:${stat.ino}` : undefined;
}
