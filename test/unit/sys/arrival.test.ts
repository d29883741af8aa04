/** Being told of what arrives on a connection that may close meanwhile. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { arrival } from "../../../src/sys/index.ts";

describe("what arrives on a connection", () => {
  let dir: string;
  let server: Server;
  let client: Socket;
  let served: Socket;

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "skylane-arrival-"));
    server = createServer({ pauseOnConnect: true }).listen(join(dir, "sock"));
    await once(server, "listening");
    const connected = once(server, "connection") as Promise<[Socket]>;
    client = connect(join(dir, "sock"));
    [served] = await connected;
  });
  afterEach(async () => {
    client.destroy();
    served.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(dir, { recursive: true });
  });

  it("is told of when it comes, and not before", async () => {
    let told = false;
    const arrived = arrival(served).then(() => (told = true));
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(told, false);
    client.write("x");
    await arrived;
  });

  it("is nothing, and no error, of one that is closed by us meanwhile", async () => {
    const arrived = arrival(served);
    served.destroy();
    await arrived;
  });

  it("does not take the number of one that was closed for that of the next one", async () => {
    const arrived = arrival(served);
    served.destroy();
    const connected = once(server, "connection") as Promise<[Socket]>;
    const next = connect(join(dir, "sock"));
    const [other] = await connected;
    const second = arrival(other);
    await arrived;
    next.write("x");
    await second;
    next.destroy();
    other.destroy();
  });
});
