/**
 * The admission policies of a manifest, evaluated as an API server does it (ValidatingAdmissionPolicy, v1): which of them a
 * request is about, their match conditions, their variables when they are asked for, and every validation. An error while an
 * expression is evaluated denies, as failurePolicy Fail has it.
 */
import { Environment } from "@marcbachmann/cel-js";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";

type Json = Record<string, unknown>;
type Operation = "CREATE" | "UPDATE" | "DELETE";

/** A write that somebody asks the API server for. */
export interface Request {
  operation: Operation;
  group: string;
  /** As in the rules of a policy: `nodes/status`. */
  resource: string;
  object?: Json;
  oldObject?: Json;
  user: { name: string /** What the token says of the node that its pod runs on. */; node?: string };
  /** The object that a binding's paramRef names; undefined: there is none. */
  params?: Json;
}

interface Rule {
  apiGroups: string[];
  operations: string[];
  resources: string[];
}
export interface Policy {
  metadata: { name: string };
  spec: {
    failurePolicy: string;
    paramKind?: { apiVersion: string; kind: string };
    matchConstraints: { resourceRules: Rule[] };
    matchConditions: { name: string; expression: string }[];
    variables: { name: string; expression: string }[];
    validations: { expression: string; message?: string; messageExpression?: string }[];
  };
}
export interface Binding {
  metadata: { name: string };
  spec: {
    policyName: string;
    validationActions: string[];
    paramRef?: { name: string; namespace: string; parameterNotFoundAction: string };
  };
}

const MANIFEST = fileURLToPath(new URL("../../manifests/skylane.yaml", import.meta.url));

/** All objects of a kind in the manifest. */
export const objectsOf = <T>(kind: string, text = readFileSync(MANIFEST, "utf8")): T[] =>
  parseAllDocuments(text)
    .map((document) => document.toJS() as { kind: string })
    .filter((object) => object.kind === kind) as T[];

/** The functions of Kubernetes' CEL libraries that the manifests use and the evaluator does not bring. */
export const kubernetesCel = (): Environment =>
  new Environment({ unlistedVariablesAreDyn: true, homogeneousAggregateLiterals: false }).registerFunction(
    "string.replace(string, string): string",
    (text: string, from: string, to: string) => text.replaceAll(from, to),
  );

/** JSON as CEL sees it: whole numbers are integers. */
export function celValue(value: unknown): unknown {
  if (typeof value === "number" && Number.isInteger(value)) return BigInt(value);
  if (Array.isArray(value)) return value.map(celValue);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, celValue(one)]));
}

const ENVIRONMENT = kubernetesCel();
const parsed = new Map<string, ReturnType<Environment["parse"]>>();

function evaluate(expression: string, scope: Json): unknown {
  let program = parsed.get(expression);
  if (!program) parsed.set(expression, (program = ENVIRONMENT.parse(expression)));
  return program(scope) as unknown;
}

function scopeOf(request: Request, { variables }: Policy["spec"]): Json {
  const [resource = "", subResource = ""] = request.resource.split("/");
  const extra =
    request.user.node === undefined ? {} : { "authentication.kubernetes.io/node-name": [request.user.node] };
  const { name, namespace } = ((request.object ?? request.oldObject) as { metadata: Json }).metadata;
  const lazily = {};
  const scope = {
    object: celValue(request.object ?? null),
    oldObject: celValue(request.oldObject ?? null),
    params: celValue(request.params ?? null),
    request: {
      operation: request.operation,
      resource: { group: request.group, version: "v1", resource },
      subResource,
      name,
      namespace,
      userInfo: { username: request.user.name, groups: ["system:serviceaccounts"], extra },
    },
    variables: lazily,
  };
  for (const { name: variable, expression } of variables)
    Object.defineProperty(lazily, variable, { enumerable: true, get: () => evaluate(expression, scope) });
  return scope;
}

const concerns = ({ group, resource, operation }: Request, rule: Rule): boolean =>
  rule.apiGroups.includes(group) && rule.resources.includes(resource) && rule.operations.includes(operation);

/** The policies of a manifest with what binds them. */
export class Admission {
  readonly policies: readonly Policy[];
  readonly bindings: readonly Binding[];

  constructor(text?: string) {
    this.policies = objectsOf<Policy>("ValidatingAdmissionPolicy", text);
    this.bindings = objectsOf<Binding>("ValidatingAdmissionPolicyBinding", text);
  }

  /** Why a request is denied, each reason once; nothing when it is let in. */
  denials(request: Request): string[] {
    return this.policies.flatMap((policy) => {
      const { matchConstraints, matchConditions, validations } = policy.spec;
      const binding = this.bindings.find(({ spec }) => spec.policyName === policy.metadata.name);
      if (!binding?.spec.validationActions.includes("Deny")) return [];
      if (!matchConstraints.resourceRules.some((rule) => concerns(request, rule))) return [];
      const scope = scopeOf(request, policy.spec);
      if (!matchConditions.every(({ expression }) => evaluate(expression, scope) === true)) return [];
      if (policy.spec.paramKind && request.params === undefined) return ["no params found"];
      return validations.flatMap(({ expression, message, messageExpression }) => {
        try {
          if (evaluate(expression, scope) === true) return [];
          return [
            messageExpression === undefined ? (message ?? expression) : String(evaluate(messageExpression, scope)),
          ];
        } catch (error) {
          return [`${policy.metadata.name}: expression '${expression}' resulted in error: ${String(error)}`];
        }
      });
    });
  }
}
