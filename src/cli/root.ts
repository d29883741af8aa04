/** Commands that see and change what only root may. */
import { CommandError } from "./command.ts";

/** @throws CommandError unless this process is root's. @param why what would be wrong without */
export function requireRoot(why: string, uid = process.geteuid?.()): void {
  if (uid !== undefined && uid !== 0) throw new CommandError(`must run as root, not as user ${uid}: ${why}`);
}
