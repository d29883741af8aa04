/**
 * The admission policies against what agents write and against what a stolen token would: for each kind of object the agent's own
 * writes pass, and the same writes about another node, without a node in the token or with another content do not.
 */
import assert from "node:assert/strict";
import { keepingOrder, newBlock, readBlock } from "../../../src/ipam/blocks/objects.ts";
import { endpointsObject, endpointsName } from "../../../src/crd/index.ts";
import { Admission, objectsOf, type Request } from "../../support/admission.ts";

type Json = Record<string, unknown>;
type Object_ = Json & { metadata: Json };

const AGENT = "system:serviceaccount:skylane-system:skylane";
const admission = new Admission();
const agentOf = (node?: string): Request["user"] => ({ name: AGENT, ...(node !== undefined && { node }) });

/** Lets a node's agent, or somebody else, ask for a write. */
function denials(
  what: Pick<Request, "operation" | "resource"> & Partial<Request>,
  node: string | undefined = "node1",
): string[] {
  return admission.denials({ group: "skylane.dev", user: agentOf(node), ...what });
}
const withoutNode = (what: Pick<Request, "operation" | "resource"> & Partial<Request>): string[] =>
  admission.denials({ group: "skylane.dev", user: agentOf(), ...what });

function assertAllowed(what: Parameters<typeof denials>[0], node?: string): void {
  assert.deepEqual(denials(what, node), []);
  const [reason = ""] = withoutNode(what);
  assert.match(reason, /token without a node claim/, `${what.operation} ${what.resource} without a node in the token`);
}
function assertDenied(what: Parameters<typeof denials>[0], why: RegExp, node?: string): void {
  const found = denials(what, node);
  assert.ok(
    found.some((reason) => why.test(reason)),
    `${what.operation} ${what.resource}: ${JSON.stringify(found)} says nothing like ${why}`,
  );
}

/** A stored object: with what the API server adds. */
const stored = (object: unknown): Object_ => {
  const { metadata, ...rest } = object as Object_;
  return {
    ...rest,
    metadata: { uid: "u-1", resourceVersion: "41", creationTimestamp: "2026-01-01T00:00:00Z", ...metadata },
  };
};
const changed = (object: Object_, metadata: Json, rest: Json = {}): Object_ => ({
  ...object,
  ...rest,
  metadata: { ...object.metadata, ...metadata },
});

describe("admission policies", () => {
  it("bind each policy, deny, and fail closed", () => {
    assert.ok(admission.policies.length > 0);
    for (const { metadata, spec } of admission.policies) {
      assert.equal(spec.failurePolicy, "Fail", metadata.name);
      const bindings = admission.bindings.filter((one) => one.spec.policyName === metadata.name);
      assert.deepEqual(
        bindings.map((one) => one.spec.validationActions),
        [["Deny"]],
        metadata.name,
      );
      const [binding] = bindings;
      assert.equal(binding?.spec.paramRef?.parameterNotFoundAction, spec.paramKind && "Deny", metadata.name);
    }
  });

  it("cover every write that RBAC allows", () => {
    const operations: Readonly<Record<string, string>> = {
      create: "CREATE",
      update: "UPDATE",
      patch: "UPDATE",
      delete: "DELETE",
      deletecollection: "DELETE",
    };
    const rules = [...objectsOf<{ rules: RbacRule[] }>("ClusterRole"), ...objectsOf<{ rules: RbacRule[] }>("Role")];
    interface RbacRule {
      apiGroups: string[];
      resources: string[];
      verbs: string[];
    }
    let writes = 0;
    for (const { apiGroups, resources, verbs } of rules.flatMap((one) => one.rules)) {
      for (const [verb, resource] of verbs.flatMap((verb) => resources.map((one) => [verb, one] as const))) {
        const operation = operations[verb];
        if (operation === undefined) {
          assert.ok(["get", "list", "watch"].includes(verb), `${verb} ${resource}`);
          continue;
        }
        writes++;
        const covered = admission.policies.some(({ spec }) =>
          spec.matchConstraints.resourceRules.some(
            (rule) =>
              apiGroups.every((group) => rule.apiGroups.includes(group)) &&
              rule.resources.includes(resource) &&
              rule.operations.includes(operation),
          ),
        );
        assert.ok(covered, `nothing holds ${verb} ${resource}`);
      }
    }
    assert.ok(writes > 10);
  });

  it("concern nobody but the agents", () => {
    const object = stored({ metadata: { name: "node2" }, spec: {} });
    const request: Request = {
      operation: "UPDATE",
      group: "",
      resource: "nodes",
      object: changed(object, { labels: { a: "1" } }),
      oldObject: object,
      user: { name: "admin" },
    };
    assert.deepEqual(admission.denials(request), []);
    assert.notDeepEqual(admission.denials({ ...request, user: { ...agentOf("node2") } }), []);
  });

  describe("of Nodes", () => {
    const conditions = [
      { type: "Ready", status: "True" },
      { type: "NetworkUnavailable", status: "True" },
    ];
    const node = stored({
      metadata: { name: "node1", labels: { a: "1" }, annotations: { "example.com/a": "1", "skylane.dev/vtep": "{}" } },
      spec: { podCIDRs: ["10.244.1.0/24"] },
      status: { conditions, addresses: [{ type: "InternalIP", address: "172.30.0.11" }] },
    });
    const update = (object: Object_, resource = "nodes") =>
      ({ operation: "UPDATE", group: "", resource, object, oldObject: node }) as const;
    const annotated = (annotations: Json) => changed(node, { annotations });

    it("let an agent annotate its own under skylane.dev/", () => {
      assertAllowed(update(annotated({ "example.com/a": "1", "skylane.dev/vtep": "{2}", "skylane.dev/x": "1" })));
      const faults = { "skylane.dev/policy-faults": '{"domainNames":"busy"}' };
      assertAllowed(update(annotated({ "example.com/a": "1", "skylane.dev/vtep": "{}", ...faults })));
      assertDenied(update(annotated({ "example.com/a": "1", ...faults })), /node2 may not change Node node1/, "node2");
      assertAllowed(update(annotated({ "example.com/a": "1" })));
      assertDenied(update(annotated({ "example.com/a": "1" })), /node2 may not change Node node1/, "node2");
    });

    it("let it change nothing else", () => {
      const more = { "example.com/a": "1", "skylane.dev/vtep": "{}" };
      for (const annotations of [{ ...more, "example.com/b": "1" }, { ...more, "example.com/a": "2" }, {}])
        assertDenied(update(annotated(annotations)), /under skylane\.dev/);
      const owner = { apiVersion: "v1", kind: "Node", name: "node2", uid: "x" };
      for (const object of [
        changed(node, { labels: { a: "2" } }),
        changed(node, { finalizers: ["skylane.dev/x"] }),
        changed(node, { ownerReferences: [owner] }),
        changed(node, {}, { spec: { podCIDRs: ["10.244.2.0/24"] } }),
        changed(node, {}, { spec: { ...(node["spec"] as Json), unschedulable: true } }),
      ])
        assertDenied(update(object), /only change annotations of a Node/);
    });

    it("let it say whether the network is there, and no other condition", () => {
      const status = node["status"] as Json;
      const [ready, unavailable] = conditions;
      const said = (after: Json) => update(changed(node, {}, { status: { ...status, ...after } }), "nodes/status");
      assertAllowed(said({ conditions: [ready, { ...unavailable, status: "False" }] }));
      assertAllowed(said({ conditions: [ready] }));
      for (const after of [
        { conditions: [{ ...ready, status: "False" }, unavailable] },
        { conditions: [unavailable] },
        { conditions: [ready, unavailable, { type: "Other", status: "True" }] },
        { addresses: [] },
        { addresses: [{ type: "InternalIP", address: "172.30.0.12" }] },
        { images: [] },
      ])
        assertDenied(said(after), /only change the condition NetworkUnavailable/);
    });
  });

  describe("of Pods", () => {
    const pod = stored({
      metadata: { name: "a", namespace: "team", annotations: { "skylane.dev/networks": "blue" } },
      spec: { nodeName: "node1" },
      status: { phase: "Running" },
    });
    const update = (object: Object_) =>
      ({ operation: "UPDATE", group: "", resource: "pods/status", object, oldObject: pod }) as const;
    const status = { "k8s.v1.cni.cncf.io/network-status": "[]" };
    const own = { "skylane.dev/networks": "blue" };

    it("let an agent say what those of its node got", () => {
      assert.deepEqual(denials(update(changed(pod, { annotations: { ...own, ...status } }))), []);
      assertDenied(
        update(changed(pod, { annotations: { ...own, ...status } })),
        /node2 may only change pods of/,
        "node2",
      );
      const pending = changed(pod, {}, { spec: {} });
      assertDenied({ ...update(pending), oldObject: pending }, /pods of its own node/);
      assert.match(withoutNode({ ...update(pending), oldObject: pending })[0] ?? "", /without a node claim/);
    });

    it("let it change nothing else of them", () => {
      assertDenied(
        update(changed(pod, { annotations: { "skylane.dev/networks": "red" } })),
        /only change the annotation/,
      );
      assertDenied(update(changed(pod, { annotations: {} })), /only change the annotation/);
      for (const object of [
        changed(pod, { labels: { a: "1" } }),
        changed(pod, {}, { status: { phase: "Failed" } }),
        changed(pod, {}, { spec: { nodeName: "node1", hostNetwork: true } }),
      ])
        assertDenied(update(object), /only change an annotation/);
    });
  });

  describe("of NetworkBlocks", () => {
    const claimant = { network: "blue", node: "node1", nodeUid: "uid-1" };
    const fresh = newBlock(claimant, "10.51.0.64/26", 64) as unknown as Object_;
    const block = stored(fresh);
    const create = (object: Object_) => ({ operation: "CREATE", resource: "networkblocks", object }) as const;
    const update = (object: Object_, oldObject = block) =>
      ({ operation: "UPDATE", resource: "networkblocks", object, oldObject }) as const;
    const remove = (oldObject: Object_) => ({ operation: "DELETE", resource: "networkblocks", oldObject }) as const;
    const claims = newBlock({ network: "blue", node: "" }, "10.51.1.0/26", 64) as unknown as Object_;
    const entered = (addresses: Json, object = stored(claims)): Object_ => {
      const kept = keepingOrder(readBlock(object as never)) as unknown as Object_;
      return { ...kept, spec: { ...(kept["spec"] as Json), addresses } };
    };

    it("let an agent have blocks of its own node, in both families and all sizes", () => {
      for (const [cidr, size] of [
        ["10.51.0.64/26", 64],
        ["fd51::40/122", 64],
        ["10.51.0.4/30", 4],
        ["10.51.0.0/16", 65_536],
        ["fd51::/112", 65_536],
      ] as const) {
        const object = newBlock(claimant, cidr, size) as unknown as Object_;
        assertAllowed(create(object));
        assertDenied(create(object), /node3 may not write NetworkBlock .* of node node1/, "node3");
        assertAllowed(remove(stored(object)));
        assertDenied(remove(stored(object)), /may not write NetworkBlock/, "node3");
      }
      assertAllowed(update(keepingOrder(readBlock(block as never)) as unknown as Object_));
      const settled = stored(keepingOrder(readBlock(block as never)));
      assertAllowed(update(changed(settled, { ownerReferences: ownersOf("node1", "uid-2") }), settled));
      assertAllowed(update(changed(settled, { ownerReferences: [] }), settled));
    });

    it("let it take over nobody's block, neither by an update", () => {
      const theirs = stored(newBlock({ ...claimant, node: "node2" }, "10.51.0.64/26", 64));
      assertDenied(update(block, theirs), /what a NetworkBlock is of cannot be changed/);
      assertDenied(update(changed(theirs, { ownerReferences: [] }), theirs), /may not write NetworkBlock/);
      assertDenied(update(stored(claims), { ...stored(claims), spec: (block as Json)["spec"] }), /cannot be changed/);
    });

    it("hold names, labels, owners and the order of creation to what it is of", () => {
      const wrong: [Json, RegExp][] = [
        [{ name: "blue.10-51-0-128-26" }, /name NETWORK\.CIDR/],
        [{ name: "red.10-51-0-64-26" }, /name NETWORK\.CIDR/],
        [{ labels: {} }, /labels/],
        [{ labels: { ...labelsOf(fresh), "skylane.dev/network": "red" } }, /labels/],
        [{ labels: { ...labelsOf(fresh), "skylane.dev/node": "node2" } }, /labels/],
        [{ labels: without(labelsOf(fresh), "skylane.dev/node") }, /labels/],
        [{ labels: { ...labelsOf(fresh), "skylane.dev/block-size": "128" } }, /block-size/],
        [{ labels: without(labelsOf(fresh), "skylane.dev/block-size") }, /block-size/],
        [{ ownerReferences: ownersOf("node2", "uid-2") }, /belongs to that Node/],
        [{ ownerReferences: [...ownersOf("node1", "uid-1"), ...ownersOf("node2", "uid-2")] }, /belongs to that Node/],
        [{ finalizers: ["skylane.dev/mine"] }, /no finalizer/],
        [{ annotations: { "skylane.dev/created-version": "1" } }, /created-version/],
      ];
      for (const [metadata, why] of wrong) assertDenied(create(changed(fresh, metadata)), why);
      assertDenied(update(changed(block, { annotations: { "skylane.dev/created-version": "1" } })), /created-version/);
      const settled = stored(keepingOrder(readBlock(block as never)));
      for (const annotations of [{}, { "skylane.dev/created-version": "1" }])
        assertDenied(update(changed(settled, { annotations }), settled), /created-version/);
      assertDenied(create(newBlock(claimant, "10.51.0.0/8", 64) as unknown as Object_), /block-size|error/);
    });

    it("hold blocks of claims to their shape", () => {
      assertAllowed(create(claims));
      assertAllowed(update(entered({ "10.51.1.1": "team/db/uid-1" }), stored(claims)));
      assertDenied(update(entered({ "10.51.1.1": "team" }), stored(claims)), /holds addresses/);
      assertAllowed(remove(entered({})));
      assertDenied(remove(entered({ "10.51.1.1": "team/db/uid-1" })), /none when it is made or deleted/);
      assertDenied(create(entered({ "10.51.1.1": "team/db/uid-1" })), /none when it is made/);
      assertDenied(
        create({ ...fresh, spec: { ...(fresh["spec"] as Json), addresses: { "10.51.0.65": "a/b/c" } } }),
        /holds/,
      );
      assertDenied(create(changed(claims, { ownerReferences: ownersOf("node1", "uid-1") })), /of IPClaims to nobody/);
    });
  });

  describe("of NetworkEndpoints", () => {
    const own = endpointsObject("blue", { name: "node1", uid: "uid-1" }, []) as Object_;
    const long = `node.${"a".repeat(58)}.${"b".repeat(60)}.${"c".repeat(60)}.${"d".repeat(40)}`;
    const create = (object: Object_) => ({ operation: "CREATE", resource: "networkendpoints", object }) as const;
    const update = (object: Object_, oldObject = stored(own)) =>
      ({ operation: "UPDATE", resource: "networkendpoints", object, oldObject }) as const;
    const remove = (oldObject: Object_) => ({ operation: "DELETE", resource: "networkendpoints", oldObject }) as const;

    it("let an agent write its node's, however long its name is", () => {
      for (const name of ["node1", "node1.example.com", long]) {
        const object = endpointsObject("blue", { name, uid: "uid-1" }, []) as Object_;
        assertAllowed(create(object), name);
        assertAllowed(update(stored(object), stored(object)), name);
        assertAllowed(remove(stored(object)), name);
        assertDenied(create(object), /may not write NetworkEndpoints/, "node3");
        assertDenied(remove(stored(object)), /may not write NetworkEndpoints/, "node3");
      }
      assert.ok(endpointsName("blue", long).length <= 253);
    });

    it("let it take nobody's name, nor change whose an object is", () => {
      const theirs = stored(endpointsObject("blue", { name: "node2", uid: "uid-2" }, []));
      assertDenied(update(stored(own), theirs), /cannot be changed/);
      for (const [metadata, why] of [
        [{ name: "blue.node2" }, /name NETWORK\.NODE/],
        [{ name: "red.node1" }, /name NETWORK\.NODE/],
        [{ labels: { ...labelsOf(own), "skylane.dev/network": "red" } }, /labels/],
        [{ labels: { ...labelsOf(own), "skylane.dev/node": "node2" } }, /labels/],
        [{ labels: {} }, /labels/],
        [{ ownerReferences: ownersOf("node2", "uid-2") }, /belong to their Node/],
        [{ finalizers: ["skylane.dev/mine"] }, /no finalizer/],
      ] as [Json, RegExp][])
        assertDenied(create(changed(own, metadata)), why);
    });
  });

  describe("of IPClaims", () => {
    const claim = (status?: Json) =>
      stored({ metadata: { name: "db", namespace: "team" }, spec: { network: "blue" }, ...(status && { status }) });
    const update = (before: Json | undefined, after: Json) =>
      ({ operation: "UPDATE", resource: "ipclaims/status", oldObject: claim(before), object: claim(after) }) as const;
    const held = { ips: ["10.51.1.1"], mac: "02:00:00:00:00:01" };
    const there = { ...held, node: "node2", pod: "db-0", podUID: "p-2" };

    it("let an agent say what a claim got and that a pod of its node has it", () => {
      assertAllowed(update(undefined, held));
      assertAllowed(update(held, { ...held, node: "node1", pod: "db-0", podUID: "p-1" }));
      assertAllowed(update(there, { ...held, node: "node1", pod: "db-0", podUID: "p-1" }));
      assertAllowed(update(there, { ...there, conditions: [{ type: "Ready", status: "False" }] }));
      assertAllowed(update(held, { ...held, ips: ["10.51.1.1", "fd51::1"] }));
      const ours = { ...there, node: "node1" };
      assertAllowed(update(ours, { ...ours, podUID: "p-9" }));
    });

    it("let it give a claim to no other node, nor take its addresses away", () => {
      assertDenied(update(held, there), /may not give IPClaim db to node node2/);
      assertDenied(update(there, held), /may not give IPClaim db/);
      assertDenied(update(there, { ...there, podUID: "p-1" }), /a pod of its own node/);
      assertDenied(update(there, { ...there, pod: "other" }), /a pod of its own node/);
      assertDenied(update(held, { ...held, ips: ["10.51.1.2"] }), /keeps the addresses/);
      assertDenied(update(held, { mac: held.mac }), /keeps the addresses/);
      assertDenied(update(held, { ...held, mac: "02:00:00:00:00:02" }), /keeps the addresses/);
      assertDenied(update(held, { ips: held.ips }), /keeps the addresses/);
      assertDenied(update(held, { ...held, ips: ["10.51.1.1", "10.51.1.2", "10.51.1.3"] }), /keeps the addresses/);
    });
  });

  describe("of the Lease", () => {
    const lease = (holderIdentity: string | undefined, more: Json = {}, metadata: Json = {}) =>
      stored({
        metadata: { name: "skylane-networks", namespace: "skylane-system", ...metadata },
        spec: { ...(holderIdentity !== undefined && { holderIdentity }), leaseDurationSeconds: 60, ...more },
      });
    const write = (object: Object_, oldObject?: Object_) =>
      ({
        operation: oldObject ? "UPDATE" : "CREATE",
        group: "coordination.k8s.io",
        resource: "leases",
        object,
        ...(oldObject && { oldObject }),
      }) as const;

    it("let an agent take it and let go of it in its own name", () => {
      assertAllowed(write(lease("node1_x")));
      assertAllowed(write(lease("node1_x"), lease("node2_y")));
      assertAllowed(write(lease("node1_x"), lease("")));
      assertAllowed(write(lease(""), lease("node1_x")));
      assertAllowed(write(lease(undefined), lease("node1_x")));
    });

    it("let it take it in no other name, free no other's, nor keep it", () => {
      assertDenied(write(lease("node2_x"), lease("node2_y")), /may not write a Lease in the name of node2_x/);
      assertDenied(write(lease("node10_x"), lease("node1_y")), /in the name of node10_x/);
      assertDenied(write(lease(""), lease("node2_y")), /in the name of nobody/);
      assertDenied(write(lease("node1_x", { leaseDurationSeconds: 3_600 })), /a minute at most/);
      assertDenied(write(lease("node1_x", {}, { finalizers: ["a.b/c"] })), /neither finalizers nor owners/);
      assertDenied(write(lease("node1_x", {}, { ownerReferences: ownersOf("node1", "u") })), /neither finalizers/);
    });

    it("let it write no other lease, in no namespace", () => {
      for (const metadata of [
        { name: "kube-scheduler" },
        { namespace: "kube-system" },
        { name: "node1", namespace: "kube-node-lease" },
      ])
        assertDenied(write(lease("node1_x", {}, metadata)), /one Lease, skylane-system\/skylane-networks/);
    });
  });

  describe("of ClusterNetworkPolicies", () => {
    const params = { spec: { holderIdentity: "node1_x" } };
    const theirs = { type: "example.com/Seen", status: "True" };
    const ours = { type: "skylane.dev/InForce", status: "True" };
    const policy = stored({
      metadata: { name: "deny-all", labels: { a: "1" } },
      spec: { tier: "Admin", priority: 1 },
      status: { conditions: [theirs] },
    });
    const update = (object: Object_) =>
      ({
        operation: "UPDATE",
        group: "policy.networking.k8s.io",
        resource: "clusternetworkpolicies/status",
        params,
        object,
        oldObject: policy,
      }) as const;
    const said = (...conditions: Json[]) => changed(policy, {}, { status: { conditions } });

    it("let the holder of the Lease say what is in force, and change nothing else", () => {
      assertAllowed(update(said(theirs, ours)));
      assertAllowed(update(said(ours, theirs)));
      assertAllowed(update(said(ours, theirs, { ...ours, type: "skylane.dev/DomainNames" })));
      assertDenied(update(said(theirs, ours)), /may not write the status of ClusterNetworkPolicy deny-all/, "node2");
      for (const conditions of [[ours], [{ ...theirs, status: "False" }], [theirs, { type: "Other", status: "True" }]])
        assertDenied(update(said(...conditions)), /no condition .* but those whose type begins with skylane\.dev/);
      assertDenied(update(changed(policy, { labels: {} })), /nothing of a ClusterNetworkPolicy but its status/);
      assertDenied(update({ ...policy, spec: { tier: "Baseline" } }), /nothing of a ClusterNetworkPolicy/);
    });
  });

  describe("of EgressGateways", () => {
    const params = { spec: { holderIdentity: "node1_x" } };
    const one = { address: "192.0.2.1", node: "node2", generation: 3 };
    const two = { address: "192.0.2.2", node: "node3", generation: 1 };
    const conditions = [{ type: "Ready", status: "True" }];
    const gateway = stored({
      metadata: { name: "out" },
      spec: { egressAddresses: ["192.0.2.1"] },
      status: { addresses: [one, two], pods: 7, conditions },
    });
    const update = (status: Json, object: Object_ = gateway) =>
      ({
        operation: "UPDATE",
        resource: "egressgateways/status",
        params,
        object: { ...object, status },
        oldObject: gateway,
      }) as const;
    const said = (...addresses: Json[]) => update({ addresses, pods: 7, conditions });

    it("let the holder of the Lease say who has which address, and nothing else of it", () => {
      assertAllowed(update({ addresses: [{ ...one, node: "node9" }], pods: 1, conditions: [] }));
      assertDenied(update({}, { ...gateway, spec: {} }), /nothing of an EgressGateway but its status/);
      assertDenied(update({}, changed(gateway, { labels: { a: "1" } })), /nothing of an EgressGateway but its status/);
    });

    it("let every other agent take an address for its own node, one change on, and say nothing besides", () => {
      const taken = { ...one, node: "node5", generation: 4 };
      assertAllowed(said(taken, two), "node5");
      const own = /may take addresses of EgressGateway out for its own node alone/;
      for (const addresses of [[{ ...taken, node: "node6" }, two], [{ ...taken, generation: 5 }, two], [taken], []])
        assertDenied(said(...addresses), own, "node5");
      assertDenied(said(taken, two, { address: "192.0.2.9", node: "node5", generation: 1 }), own, "node5");
      assertDenied(said({ ...taken, address: "192.0.2.9" }, two), own, "node5");
      const nothing = /says nothing else of the EgressGateway/;
      assertDenied(update({ addresses: [taken, two], pods: 8, conditions }), nothing, "node5");
      assertDenied(update({ addresses: [taken, two], pods: 7, conditions: [] }), nothing, "node5");
    });
  });

  describe("of PodNetworks", () => {
    const params = { spec: { holderIdentity: "node1_x" } };
    const shown = stored({ metadata: { name: "default" }, spec: { vni: 4096 } });
    const blue = stored({ metadata: { name: "blue" }, spec: { vni: 7 } });
    const write = (operation: Request["operation"], object: Object_, resource = "podnetworks", old = object) =>
      ({
        operation,
        resource,
        params,
        ...(operation !== "DELETE" && { object }),
        ...(operation !== "CREATE" && { oldObject: old }),
      }) as const;

    it("let the holder of the Lease show the default network and write the status of all", () => {
      assertAllowed(write("CREATE", shown));
      assertAllowed(write("UPDATE", changed(shown, { labels: { a: "1" } }), "podnetworks", shown));
      assertAllowed(write("DELETE", shown));
      assertAllowed(write("UPDATE", { ...blue, status: { nodes: 1 } }, "podnetworks/status", blue));
    });

    it("let no other agent", () => {
      for (const request of [
        write("CREATE", shown),
        write("DELETE", shown),
        write("UPDATE", blue, "podnetworks/status"),
      ]) {
        assertDenied(request, /node2 may not write PodNetwork .*: the Lease .* is that of node1_x/, "node2");
        assertDenied({ ...request, params: { spec: {} } }, /is nobody's/);
        assert.deepEqual(
          admission.denials({ group: "skylane.dev", user: agentOf("node1"), ...request, params: undefined }),
          ["no params found"],
        );
      }
    });

    it("let every agent keep a network from going while pods are in it, and change nothing else of it", () => {
      const held = changed(blue, { finalizers: ["a.b/c", "skylane.dev/pods"] });
      const before = changed(blue, { finalizers: ["a.b/c"] });
      assertAllowed(write("UPDATE", held, "podnetworks", before), "node2");
      assertAllowed(write("UPDATE", before, "podnetworks", held), "node2");
      for (const [after, why] of [
        [changed(held, { finalizers: ["skylane.dev/pods"] }), /no finalizer of a PodNetwork but skylane\.dev\/pods/],
        [changed(held, { finalizers: ["a.b/c", "d.e/f"] }), /no finalizer of a PodNetwork but/],
        [changed(held, { labels: { a: "1" } }), /nothing of a PodNetwork but the finalizer/],
        [changed(held, { annotations: { a: "1" } }), /nothing of a PodNetwork but the finalizer/],
        [changed(held, { ownerReferences: ownersOf("node2", "u") }), /nothing of a PodNetwork but the finalizer/],
        [{ ...held, spec: { vni: 7, namespaceSelector: {} } }, /nothing of a PodNetwork but the finalizer/],
      ] as const)
        assertDenied(write("UPDATE", after, "podnetworks", held), why);
    });

    it("let nobody of them define a network", () => {
      assertDenied(write("CREATE", blue), /no PodNetwork but the one that shows the default/);
      assertDenied(write("DELETE", blue), /no PodNetwork but the one/);
      assertDenied(
        write("UPDATE", { ...shown, spec: { vni: 9 } }, "podnetworks", shown),
        /changes no PodNetwork's spec/,
      );
    });
  });

  describe("of Events", () => {
    const event = (host: string, involvedObject: Json, more: Json = {}) =>
      stored({
        metadata: { name: "node1.1", namespace: "default" },
        involvedObject,
        source: { component: "skylane-agent", host },
        ...more,
      });
    const node = (name: string) => ({ kind: "Node", name });
    const create = (object: Object_) => ({ operation: "CREATE", group: "", resource: "events", object }) as const;

    it("let an agent write about its own Node, in its own name", () => {
      const own = event("node1", node("node1"));
      assertAllowed(create(own));
      assertAllowed({ ...create(own), operation: "UPDATE", oldObject: own });
      assertDenied(create(event("node2", node("node2"))), /in its own name/);
      assertDenied(create(event("node1", node("node2"))), /about its own Node/);
      assertDenied(
        create(event("node1", node("node1"), { source: { component: "kubelet", host: "node1" } })),
        /own name/,
      );
      const others = event("node2", node("node2"));
      assertDenied({ ...create(own), operation: "UPDATE", oldObject: others }, /in its own name/);
    });
  });
});

const labelsOf = (object: Object_): Record<string, string> => object.metadata["labels"] as Record<string, string>;
const without = (labels: Record<string, string>, key: string): Record<string, string> =>
  Object.fromEntries(Object.entries(labels).filter(([name]) => name !== key));
const ownersOf = (name: string, uid: string) => [{ apiVersion: "v1", kind: "Node", name, uid }];
