/** Takes encryption off a node: where it is switched off, and where Skylane goes. */
import { describeOperation, type Operation, type Rtnl } from "../../netlink/index.ts";
import { isThere, removeTables, toolRunner } from "../nft/index.ts";
import { isEncryptionDevice } from "./device.ts";
import { BACK_TABLE, ENCRYPTION_TABLE } from "./entries.ts";
import { isOurRule } from "./operations.ts";
import { ENCRYPTION_NFT_TABLE } from "./table.ts";

/** As nft names it. */
const OWN_TABLE = `inet ${ENCRYPTION_NFT_TABLE}`;

/**
 * Removes rules, routes, devices and table, in the order in which packets go on in the clear where they were encrypted.
 * @returns what was removed, in words. @throws NetlinkError, NftError
 */
export async function removeEncryption(rtnl: Pick<Rtnl, "links" | "routes" | "rules" | "execute">): Promise<string[]> {
  const links = rtnl.links();
  const operations: Operation[] = [
    ...rtnl
      .rules()
      .filter(isOurRule)
      .map((rule): Operation => ({ op: "del", kind: "rule", rule })),
    ...[ENCRYPTION_TABLE, BACK_TABLE]
      .flatMap((table) => [...rtnl.routes({ table })])
      .map((route): Operation => ({ op: "del", kind: "route", route })),
    ...links
      .filter(isEncryptionDevice)
      .map(({ index, name }): Operation => ({ op: "del", kind: "link", link: { index, name } })),
  ];
  const nameOf = (index: number): string | undefined => links.find((link) => link.index === index)?.name;
  const removed = operations.map((operation) => {
    rtnl.execute(operation);
    return describeOperation(operation, nameOf).replace(/^deleting /, "");
  });
  if (
    isThere({ family: "inet", table: ENCRYPTION_NFT_TABLE }) !== false &&
    (await removeTables(toolRunner(), [OWN_TABLE]))
  )
    removed.push(`nftables table ${OWN_TABLE}`);
  return removed;
}
