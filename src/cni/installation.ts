/** Where the plugin's executable is on a host, and what it needs beside it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Folder in the runtime's directory of executables that holds all that the executable needs. */
const SUPPORT = ".skylane";

/** That folder. */
export const supportDir = (binDir: string): string => join(binDir, SUPPORT);

/** Whether a file is the launcher, of any version: it names the folder that it looks for. @throws Error of fs */
export const isLauncher = (path: string): boolean => readFileSync(path).includes(`/${SUPPORT}/current`);
