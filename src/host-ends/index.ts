/** Pods' links in the hands of the agent: making and removing them, and the repair of their host ends. */
export { PodLinks, NetnsLinks } from "./pod-links.ts";
