import { libc } from "./libc.ts";

/**
 * Gives the kernel back what this process has freed: the C library does so by itself only at the end of its heap, and in a few megabytes
 * that are free there is nearly always something that is not.
 */
export function releaseFreed(): void {
  libc().call.malloc_trim(0n);
}
