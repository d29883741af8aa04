/**
 * What a pod got, for those who look at the pod: the annotation `k8s.v1.cni.cncf.io/network-status` (Kubernetes Network
 * Custom Resource Definition De-facto Standard 1.3, section 5).
 */

export const STATUS_ANNOTATION = "k8s.v1.cni.cncf.io/network-status";

/** One interface of a pod. */
export interface InterfaceStatus {
  network: string;
  ifname: string;
  ips: readonly string[];
  mac: string;
  /** In bytes. */
  mtu?: number;
  /** Gateways of its default route, one a family; absent where it has none. */
  gateway?: readonly string[];
  /** Whether it is the pod's first one: its addresses are the pod's. */
  primary: boolean;
}

/**
 * The annotation's text. The first interface comes first, as readers expect of it.
 * @throws RangeError unless exactly one interface is the first
 */
export function formatNetworkStatus(interfaces: readonly InterfaceStatus[]): string {
  const first = interfaces.filter(({ primary }) => primary);
  if (first.length !== 1) throw new RangeError(`a pod has one first interface, not ${first.length}`);
  const ordered = [...first, ...interfaces.filter(({ primary }) => !primary)];
  return JSON.stringify(
    ordered.map(({ network, ifname, ips, mac, mtu, gateway, primary }) => ({
      name: network,
      interface: ifname,
      ...(ips.length > 0 && { ips }),
      mac,
      ...(mtu !== undefined && { mtu }),
      ...(primary && { default: true }),
      dns: {},
      ...(gateway && gateway.length > 0 && { gateway }),
    })),
  );
}
