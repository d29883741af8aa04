/** Tasks that are asked for again and again and never overlap: a folder of its own, since the agent and the packet filter live by them. */
export { type RetryPause, Task } from "./task.ts";
