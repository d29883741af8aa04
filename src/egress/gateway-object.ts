/** An EgressGateway as it was read, also where it makes no sense: that is to be said in its status. */
import {
  type AddressHolder,
  type EgressGatewayInfo,
  holdersOf,
  infoOrFault,
  parseEgressGateway,
} from "../crd/index.ts";
import { metaOf } from "../kube/index.ts";
import { isObject, type Json } from "../json/index.ts";

export interface GatewayObject {
  name: string;
  uid: string;
  resourceVersion: string;
  generation: number | undefined;
  info?: EgressGatewayInfo;
  fault?: string;
  holders: readonly AddressHolder[];
  status: Json;
}

/** Reads one. @throws TypeError where it is no object of the API */
export function readGatewayObject(object: unknown): GatewayObject {
  const { name, uid, resourceVersion } = metaOf(object);
  const { metadata, status } = object as { metadata: Json; status?: unknown };
  const { generation } = metadata;
  return {
    name,
    uid,
    resourceVersion,
    generation: typeof generation === "number" ? generation : undefined,
    ...infoOrFault(parseEgressGateway, object),
    holders: holdersOf(object),
    status: isObject(status) ? status : {},
  };
}
