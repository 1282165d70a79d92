// Goal: GW1: which claim of a beat counts.
import type { Beat } from "@carillon/contracts";
import { expect, test } from "vitest";
import { OwnerView } from "./owner-view.ts";

function beatOf(memberId: string, owned: [number, number][]): Beat {
  const rest = {
    region: "fra",
    roles: ["worker" as const],
    isDraining: false,
    build: "",
    links: {},
  };
  return { memberId, owned: { fra: owned }, ...rest };
}

test("GW1 — a lower epoch replaces a higher one only after it was given back or lost", () => {
  const view = new OwnerView();
  expect(view.update(beatOf("w1", [[7, 5]]))).toEqual(["fra/7"]);
  expect(view.update(beatOf("w1", [[7, 5]]))).toEqual([]);
  expect(view.update(beatOf("w2", [[7, 4]]))).toEqual([]);
  expect(view.ownerOf("fra/7")).toEqual({ ownerId: "w1", epoch: 5 });
  view.update(beatOf("w1", []));
  expect(view.ownerOf("fra/7")).toBe(undefined);
  expect(view.update(beatOf("w2", [[7, 4]]))).toEqual(["fra/7"]);
  expect(view.update(beatOf("w1", [[7, 6]]))).toEqual(["fra/7"]);
  view.forgetMember("w2"); // owns nothing any more
  expect(view.ownerOf("fra/7")).toEqual({ ownerId: "w1", epoch: 6 });
  view.forgetMember("w1");
  expect(view.ownerOf("fra/7")).toBe(undefined);
});
