/**
 * The kernel parameters of devices out of the kernel's messages about links: each family adds all of its own as one array of
 * numbers (IFLA_INET_CONF: net/ipv4/devinet.c, inet_fill_link_af; IFLA_INET6_CONF: net/ipv6/addrconf.c, inet6_fill_ifla6_attrs).
 */
import { AF_INET, AF_INET6, IFLA, IFLA_INET6_CONF, IFLA_INET_CONF } from "../constants.ts";
import type { DeviceParameters } from "../types.ts";
import { eachAttribute, u32At } from "./attributes.ts";

/** Length of struct ifinfomsg. */
const HEADER = 16;
const AF_SPEC_ONLY: ReadonlySet<number> = new Set([IFLA.AF_SPEC]);
const FAMILIES_ONLY: ReadonlySet<number> = new Set([AF_INET, AF_INET6]);

/** @throws MalformedMessage */
export function decodeParameters(data: Buffer): DeviceParameters {
  const parameters: DeviceParameters = { index: u32At(data, 4) | 0, 4: "", 6: "" };
  eachAttribute(
    data,
    HEADER,
    (_type, families) => {
      eachAttribute(
        families,
        0,
        (family, options) => {
          const ipv4 = family === AF_INET;
          eachAttribute(options, 0, (type, value) => {
            if (type !== (ipv4 ? IFLA_INET_CONF : IFLA_INET6_CONF)) return;
            parameters[ipv4 ? 4 : 6] = value.toString("latin1");
          });
        },
        FAMILIES_ONLY,
      );
    },
    AF_SPEC_ONLY,
  );
  return parameters;
}
