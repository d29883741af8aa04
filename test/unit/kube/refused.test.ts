/** What becomes of a set when the server refuses the whole resource: by its rules, or because it does not know it. */
import assert from "node:assert/strict";
import { connect, type KubeClient, ObjectReflector } from "../../../src/kube/index.ts";
import { parsePodNetwork, type PodNetworkInfo, POD_NETWORKS, sameObject } from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";
import { answer, ScriptedApi, type Step, status, watchList } from "./scripted-api.ts";

const blue = {
  metadata: { name: "blue", uid: "u1", resourceVersion: "3", creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { vni: 7, cidrs: ["10.1.0.0/16"] },
};
const forbidden = answer(status(403, "Forbidden"), 403);
const unknown = answer("404 page not found", 404);

describe("kube: a resource that the server refuses", () => {
  let api: ScriptedApi;
  let client: KubeClient;
  let reflector: ObjectReflector<PodNetworkInfo>;
  const log: string[] = [];

  beforeEach(async () => {
    api = await new ScriptedApi().listen();
    client = connect({ kubeconfig: api.kubeconfig() });
    log.length = 0;
  });
  afterEach(async () => {
    await reflector.stop();
    await client.close();
    await api.close();
  });
  const begin = (...steps: Step[]): void => {
    api.script.push(...steps);
    const say = (message: string) => void log.push(message);
    reflector = new ObjectReflector(
      client,
      { what: "pod networks", path: POD_NETWORKS, parse: parsePodNetwork, same: sameObject },
      {
        timings: { baseMs: 2, capMs: 8, stableMs: 0, absentMs: 5, random: () => 0 },
        log: { error: say, warn: say, info: say, debug: () => undefined },
      },
    );
    reflector.start();
  };
  const FORBIDDEN =
    "the API server does not let this agent read pod networks: " +
    "its role may be that of an older release; trying again until it may";
  const ALLOWED = "the API server lets this agent read pod networks now";

  it("is asked for until it is allowed, and that is said once, and once more when it is over", async () => {
    begin(...Array.from({ length: 6 }, () => forbidden), watchList([blue], "10"));
    await reflector.whenSynced();
    assert.equal(reflector.state.errors, 6);
    assert.deepEqual([...reflector.objects.keys()], ["blue"]);
    assert.deepEqual(log, [FORBIDDEN, ALLOWED]);
  });

  it("keeps what was known while it is forbidden, and is said anew when it is forbidden again", async () => {
    begin(forbidden, watchList([blue], "10"), forbidden, forbidden, watchList([], "11"));
    await reflector.whenSynced();
    api.stream.end();
    await eventually(() => log.length >= 4 && reflector.state.connected);
    assert.deepEqual([...reflector.objects.keys()], ["blue"]);
    assert.deepEqual(
      log.filter((line) => line.includes("this agent")),
      [FORBIDDEN, ALLOWED, FORBIDDEN, ALLOWED],
    );
  });

  it("keeps what was known when a server that has just started does not know it yet", async () => {
    begin(watchList([blue], "10"), unknown, watchList([blue], "10"), unknown, watchList([blue], "10"));
    await reflector.whenSynced();
    for (const requests of [3, 5]) {
      api.stream.end();
      await api.requests(requests);
      await eventually(() => reflector.state.connected);
      assert.deepEqual([...reflector.objects.keys()], ["blue"]);
    }
    const said = "the API server knows no pod networks any more; those known go when it says so again";
    assert.deepEqual(log, [said, said]);
  });
});
