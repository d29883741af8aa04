/** The two ends of a connectivity test, on this machine's loopback: what is asked comes back, and what does not come back says why. */
import assert from "node:assert/strict";
import { createServer, type AddressInfo, type Server } from "node:net";
import { once } from "node:events";
import { createSocket } from "node:dgram";
import { ask } from "../../../src/cli/connectivity/peer/ask.ts";
import { parseAnswers, parseQuestions, type Question } from "../../../src/cli/connectivity/peer/questions.ts";
import { type Peer, serve } from "../../../src/cli/connectivity/peer/serve.ts";

const TOKEN = "0123456789abcdef";
const MTU = 1400;
/** Of time over all, not for one attempt: a busy machine may take its time to connect. */
const IMPATIENT = { deadlineMs: 400, attemptMs: 30_000 };

describe("connectivity peer", () => {
  let peer: Peer;
  before(async () => {
    peer = await serve({ name: "peer-1", token: TOKEN, port: 0, mtu: MTU });
  });
  after(() => peer[Symbol.asyncDispose]());

  const tell = async (question: Question, patience?: typeof IMPATIENT) =>
    (await ask({ token: TOKEN, questions: [question] }, MTU + 100, patience))[0];
  const heard = async (): Promise<unknown> => (await fetch(`http://127.0.0.1:${peer.port}/heard`)).json();

  for (const ip of ["127.0.0.1", "::1"]) {
    it(`answers requests and datagrams of all sizes at ${ip}, and remembers which it heard`, async () => {
      const at = { ip, port: peer.port };
      assert.deepEqual(await tell({ kind: "http", ...at, peer: "peer-1" }), { ok: true, is: "peer-1 answers" });
      assert.deepEqual(await tell({ kind: "udp", ...at, size: "small", key: `small${ip}` }), {
        ok: true,
        is: `${64 + (ip === "::1" ? 48 : 28)} bytes come back`,
      });
      // The smaller MTU of the two ends.
      assert.equal((await tell({ kind: "udp", ...at, size: "full", key: `full${ip}` }))?.is, "1400 bytes come back");
      assert.equal((await tell({ kind: "udp", ...at, size: "over", key: `over${ip}` }))?.is, "1401 bytes come back");
      const keys = (await heard()) as string[];
      for (const key of ["small", "full", "over"]) assert.ok(keys.includes(key + ip), keys.join(" "));
    });
  }

  it("tells another peer, and a port where nobody is", async () => {
    const other = await tell({ kind: "http", ip: "127.0.0.1", port: peer.port, peer: "peer-2" }, IMPATIENT);
    assert.deepEqual(other, { ok: false, is: "peer-1 answers in its place" });
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const nobody = { ip: "127.0.0.1", port: (server.address() as AddressInfo).port };
    server.close();
    await once(server, "close");
    assert.deepEqual(await tell({ kind: "http", ...nobody, peer: "" }, IMPATIENT), { ok: false, is: "refused" });
    assert.equal((await tell({ kind: "connect", ...nobody, refusalCounts: true }, IMPATIENT))?.ok, true);
    assert.equal((await tell({ kind: "connect", ...nobody, refusalCounts: false }, IMPATIENT))?.ok, false);
    assert.equal((await tell({ kind: "closed", ...nobody }, IMPATIENT))?.ok, true);
    const open = { ip: "127.0.0.1", port: peer.port };
    assert.deepEqual(await tell({ kind: "closed", ...open }, IMPATIENT), { ok: false, is: "it still connects" });
  });

  describe("beside somebody who is no peer", () => {
    let server: Server;
    before(async () => {
      // Takes connections and says nothing.
      server = createServer((socket) => socket.on("error", () => socket.destroy())).listen(0, "127.0.0.1");
      await once(server, "listening");
    });
    after(() => server.close());

    it("waits no longer than it is to", async () => {
      const { port } = server.address() as AddressInfo;
      const silent = await tell({ kind: "http", ip: "127.0.0.1", port, peer: "" }, { deadlineMs: 400, attemptMs: 100 });
      assert.deepEqual(silent, { ok: false, is: "no answer within 100 ms" });
    });
  });

  it("says nothing to datagrams without the token", async () => {
    const questions: Question[] = [{ kind: "udp", ip: "127.0.0.1", port: peer.port, size: "small", key: "strange" }];
    const [answer] = await ask({ token: "fedcba9876543210", questions }, MTU, IMPATIENT);
    assert.equal(answer?.ok, false);
    // One with the token that arrives later ends the wait for an answer to one without it.
    const socket = createSocket("udp4");
    socket.send(`${"f".repeat(16)} wrong\n`, peer.port, "127.0.0.1");
    socket.send(`${TOKEN} right\n`, peer.port, "127.0.0.1");
    const [first] = (await once(socket, "message")) as [Buffer];
    assert.match(first.toString("latin1"), / right 23\n/);
    socket.close();
    assert.ok(!((await heard()) as string[]).includes("strange"));
  });

  it("resolves names", async () => {
    const question = { kind: "name", name: "localhost", ips: ["127.0.0.1", "::1"] } as const;
    assert.equal((await tell(question))?.ok, true);
    const wrong = await tell({ ...question, ips: ["192.0.2.1"] }, IMPATIENT);
    assert.match(wrong?.is ?? "", /^resolves to /);
    assert.equal(wrong?.ok, false);
  });

  it("takes no questions and no answers that it does not understand", () => {
    const good = { kind: "udp", ip: "10.0.0.1", port: 7000, size: "full", key: "k" };
    const said = (one: object, token: unknown = TOKEN) => JSON.stringify({ token, questions: [one] });
    assert.deepEqual(parseQuestions(said(good)).questions, [good]);
    for (const bad of [{ ip: "host" }, { port: 0 }, { port: "80" }, { size: "huge" }, { key: "a b" }, { kind: "exec" }])
      assert.throws(() => parseQuestions(said({ ...good, ...bad })), /question 0 is none/, JSON.stringify(bad));
    assert.throws(() => parseQuestions(said(good, "a b")), /no questions/);
    assert.deepEqual(parseAnswers('[{"ok":true,"is":"fine","more":1}]', 1), [{ ok: true, is: "fine" }]);
    for (const bad of ["{}", "[]", '[{"ok":"yes","is":""}]', '[{"ok":true}]'])
      assert.throws(() => parseAnswers(bad, 1), /no answers/, bad);
  });
});
