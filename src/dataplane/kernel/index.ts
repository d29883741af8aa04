/** What every data plane of entries in the kernel is made of: a reconciler of a network namespace, and carrying plans out there. */
export { applyPlan } from "./apply.ts";
export { KernelReconciler, type KernelReconcilerOptions, type LinkNetns } from "./reconciler.ts";
export { type KernelObject, type ObjectPlan, planObjects } from "./objects.ts";
