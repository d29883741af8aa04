/** Whoever can give a network namespace its name under /run/netns, and take it away. */
export interface NetnsMounter {
  /** Names the namespace of a descriptor; that it has the name already is fine. @throws Error when it cannot be done */
  hold(name: string, fd: number): Promise<void>;
  /** Takes a name away; that there is none is fine. @throws Error when it cannot be done */
  release(name: string): Promise<void>;
}
