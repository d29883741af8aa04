/**
 * One agent a node: two of them would each repair what the other one made. The kernel keeps the lock for as long
 * as the process lives and drops it however it ends, so that a killed agent never keeps the next one out.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { draftTarget, type HeldLock, makeDirectory, tryLock } from "../sys/index.ts";

/** Somebody else has the node. */
export class AnotherAgent extends Error {
  override readonly name = "AnotherAgent";
  constructor(path: string, pid: string) {
    super(
      `another skylane-agent ${pid ? `(process ${pid}) ` : ""}runs on this node and holds ${path}; ` +
        "stop it first: two agents would undo each other's work",
    );
  }
}

/** Where the lock of a run directory is. */
export const lockPath = (runDir: string): string => join(runDir, "agent.lock");

/** The node as this process's own. */
export class NodeClaim {
  readonly path: string;
  #lock: HeldLock;

  /** @throws as {@link claimNode} */
  constructor(path: string) {
    this.path = path;
    this.#lock = claim(path);
  }

  /**
   * Claims the node anew where the lock's file was removed, which would let another agent start.
   * @param onLost hears when one has. @returns whether the file had gone. @throws Error with the system's code
   */
  keep(onLost: (error: AnotherAgent) => void): boolean {
    if (this.#lock.named()) return false;
    this.#lock.release();
    try {
      this.#lock = claim(this.path);
    } catch (error) {
      if (error instanceof AnotherAgent) onLost(error);
      throw error;
    }
    return true;
  }

  release(): void {
    this.#lock.release();
  }
}

/**
 * Claims the node for this process, making the run directory where it is missing.
 * @throws AnotherAgent; Error with the system's code when the directory cannot be made or written.
 */
export const claimNode = (runDir: string): NodeClaim => new NodeClaim(lockPath(runDir));

function claim(path: string): HeldLock {
  makeDirectory(dirname(path));
  const lock = tryLock(path);
  if (!lock) throw new AnotherAgent(path, readFileSync(path, "utf8").trim());
  writeFileSync(path, `${process.pid}\n`); // for the reader of a refusal; the lock itself is the kernel's
  return lock;
}

/** Removes drafts of files that an agent was killed over: only the holder of the lock may, since only it writes them. */
export function removeDrafts(directory: string, names: (name: string) => boolean): void {
  let files: string[];
  try {
    files = readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  for (const file of files) {
    // Drafts of whole files; names that sockets are made under; the cache's, which is written by and by.
    const of = draftTarget(file) ?? /^(.+)\.\d+(?:\.tmp)?$/.exec(file)?.[1];
    if (of !== undefined && names(of)) rmSync(join(directory, file), { force: true });
  }
}
