import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NetworkPresence } from "../../../src/pod-requests/network-presence.ts";
import { CniError, CODE } from "../../../src/cni/index.ts";

describe("whether pods may ask for a network beside the default one", () => {
  let dataDir: string;
  beforeEach(() => (dataDir = mkdtempSync(join(tmpdir(), "skylane-presence-"))));
  afterEach(() => rmSync(dataDir, { recursive: true }));

  /** An agent that starts, and the API server as it hears it. */
  function started({ patienceMs = 60_000 } = {}) {
    const heard = Promise.withResolvers<void>();
    const api = {
      known: false,
      forbidden: false,
      accepted: new Map(),
      refused: new Map<string, string>(),
      away: undefined as string | undefined,
      whenKnown: () => heard.promise,
    };
    const presence = new NetworkPresence({
      config: { dataDir },
      log: { warn: (message) => assert.fail(message) },
      defined: api,
      here: () => false,
      apiAway: () => api.away,
      patienceMs,
    });
    const answers = (...refused: string[]): void => {
      for (const name of refused) api.refused.set(name, "it makes no sense");
      api.known = true;
      presence.remember();
      heard.resolve();
    };
    return { presence, api, answers };
  }
  const pod = { namespace: "shop", name: "web" };
  const manifest = { ...pod, uid: "d41d8cd98f00b204e9800998ecf8427e" };
  const unknown = (code: number, message = /which pod networks are defined/) => ({
    name: CniError.name,
    code,
    message,
  });

  it("is unknown at a first start until the API server has said it; requests wait for that", async () => {
    const { presence, answers } = started();
    assert.equal(presence.now, "unknown");
    assert.throws(() => presence.require(), unknown(CODE.notAvailable));
    const settled = presence.mayAsk(pod);
    answers("blue");
    assert.equal(await settled, true);
    presence.require();
  });

  for (const [before, away] of [
    [undefined, undefined],
    [true, undefined],
    [true, "connection refused"],
    [undefined, "connection refused"],
  ] as const)
    it(`is refused for now when nobody can tell, after ${before ? "there were some" : "nothing is remembered"}, the API server being ${away ? "away" : "silent"}`, async () => {
      if (before) started().answers("blue");
      const { presence, api } = started({ patienceMs: 1 });
      api.away = away;
      await assert.rejects(presence.mayAsk(pod), unknown(CODE.tryAgain, away ? /: connection refused$/ : /ask for$/));
    });

  it("is no question where there were none, with the API server away or silent: the default network goes on", async () => {
    started().answers();
    for (const away of ["connection refused", undefined]) {
      const { presence, api } = started({ patienceMs: 1 });
      api.away = away;
      assert.equal(presence.now, "none");
      assert.equal(await presence.mayAsk(pod), false);
    }
  });

  it("waits for the API server's word where there were none, as there may be some by now", async () => {
    started().answers();
    const { presence, answers } = started();
    const settled = presence.mayAsk(pod);
    answers("blue");
    assert.equal(await settled, true);
  });

  it("is not asked about a static pod, nor about a request that names none, while it is unknown", async () => {
    const { presence, answers } = started();
    assert.equal(await presence.mayAsk(manifest), false);
    assert.equal(await presence.mayAsk(undefined), false);
    answers("blue");
    assert.equal(await presence.mayAsk(manifest), true);
    assert.equal(await presence.mayAsk(undefined), false);
  });

  it("is no question where the agent's role knows of no networks", async () => {
    const { presence, api } = started();
    api.forbidden = true;
    assert.equal(await presence.mayAsk(pod), false);
    started().answers("blue");
    const later = started();
    later.api.forbidden = true;
    await assert.rejects(later.presence.mayAsk(pod), unknown(CODE.tryAgain));
  });
});
