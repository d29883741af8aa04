/** Domain names as peers (`domainNames`): one name, or all names below one. */

/** What the API takes: labels with a dot between them, two at least, and "*." in front for all below. */
const PATTERN = /^(\*\.)?([a-z0-9]([-a-z0-9_]{0,61}[a-z0-9])?\.)+[a-z0-9]([-a-z0-9_]{0,61}[a-z0-9])?$/;
const LONGEST = 255;

/** An address that a DNS server has said a name has. */
export interface NamedAddress {
  /** As DNS has it: small letters, without a dot at the end. */
  name: string;
  /** Canonical. */
  ip: string;
}

/** A domain name of a policy in the one form that it has here; undefined where it is none. */
export function domainNameOf(text: string): string | undefined {
  const name = text.toLowerCase().replace(/\.$/, "");
  return name.length <= LONGEST && PATTERN.test(name) ? name : undefined;
}

/** Whether a name is one of a rule's. "*.example.com" is every name below example.com, however far, and not example.com itself. */
export const isAmong = (names: readonly string[], name: string): boolean =>
  names.some((one) =>
    one.startsWith("*.") ? name.endsWith(one.slice(1)) && name.length > one.length - 1 : one === name,
  );
