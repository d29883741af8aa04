/** CNI requests served by the agent: the launcher's protocol, the verbs, and the configuration that names us to the runtime. */
export { GONE, servingHost, type ServingHostOptions } from "./cni-host.ts";
export { hasBandwidth } from "./chain.ts";
export { CNI_SOCKET, CniServer } from "./cni-server.ts";
export { type ConflistInput, conflistsBefore, ensureConflist, isOurConflist, renderConflist } from "./conflist.ts";
export { DurationSpool } from "./durations.ts";
export { PortmapPods } from "./portmap-pods.ts";
export { LAUNCHER_KEY } from "./launcher-key.ts";
export { RuntimePlugins } from "./runtime-plugins.ts";
