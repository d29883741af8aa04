import { ensureSpace, type NetnsMounter, type Space } from "../dataplane/netns/index.ts";

/** The namespace of a network, by a name that outlives this process. @throws SysError, NetlinkError, CniError */
export async function heldSpace(network: string, keeper: NetnsMounter): Promise<Space> {
  const space = ensureSpace(network);
  try {
    if (!space.found) await keeper.hold(space.name, space.fd);
    return space;
  } catch (error) {
    space.close();
    throw error;
  }
}
