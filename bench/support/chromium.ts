/** Chromium of this machine; undefined where there is none in PATH. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

export const CHROMIUM: string | undefined = (process.env["PATH"] ?? "")
  .split(delimiter)
  .map((dir) => join(dir, "chromium"))
  .find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
