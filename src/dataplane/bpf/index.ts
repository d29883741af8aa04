/** BPF programs at devices: put together, loaded, attached; nothing of what they do. */
export { Assembly } from "./assembler.ts";
export { be16, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, type Register, SKB } from "./instructions.ts";
export { kernelTypes, type KernelTypes } from "./kfuncs.ts";
export { BpfMap, type MapSpec } from "./map.ts";
export { type Attachment, Program, type Side, TcxLink } from "./program.ts";
