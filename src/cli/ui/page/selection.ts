/** What is chosen on the page, which the details are about. */
export type Selection =
  | { kind: "node"; name: string }
  | { kind: "pair"; from: string; to: string }
  | { kind: "network"; name: string }
  | { kind: "pod"; key: string }
  | { kind: "claim"; key: string };

export type Select = (selection: Selection | undefined) => void;
