// Goal: DE1. Method: counts and samples.
import { importLineSchema } from "@carillon/contracts";
import { expect, test } from "vitest";
import { employeeOf, employeesOf, onlineOf } from "./employees.ts";

const REGIONS = ["fra", "lon", "par", "dub"];

test("DE1 — 10,000 people over four regions, the same every time", () => {
  const employees = employeesOf(REGIONS, 10_000);
  expect([...employees].map(([region, people]) => [region, people.length])).toEqual([
    ["fra", 4_000],
    ["lon", 3_000],
    ["par", 2_000],
    ["dub", 1_000],
  ]);
  expect(employeesOf(REGIONS, 10_000)).toEqual(employees);
  const ids = [...employees.values()].flat().map((employee) => employee.recipientId);
  expect(new Set(ids).size).toBe(10_000);
  expect(employeeOf("par", 4)).toEqual({
    recipientId: "emp-par-00005",
    homeRegion: "par",
    locale: "fr-FR",
    timeZone: "Europe/Paris",
    attributes: { department: "logistics", shift: "early", country: "FR", site: "Lyon" },
  });
});

test.each([1, 3, 7, 99])("DE1 — %i people are %i people, whatever the regions", (count) => {
  for (const regions of [["fra"], ["lon", "dub"], [...REGIONS, "ams", "mad"]]) {
    const everybody = [...employeesOf(regions, count).values()].flat();
    expect(everybody).toHaveLength(count);
    for (const employee of everybody)
      expect(importLineSchema.safeParse(employee).error).toBe(undefined);
  }
});

test("DE1 — 2,000 online, a quarter of each region's elsewhere, and everywhere else", () => {
  const online = onlineOf(employeesOf(REGIONS, 10_000), 2_000);
  const byHome = Map.groupBy(online, ({ employee }) => employee.homeRegion);
  expect([...byHome].map(([home, some]) => [home, some.length])).toEqual([
    ["fra", 800],
    ["lon", 600],
    ["par", 400],
    ["dub", 200],
  ]);
  for (const [home, some] of byHome) {
    const elsewhere = some.filter(({ region }) => region !== home);
    expect(elsewhere.length).toBe(some.length / 4);
    expect(new Set(elsewhere.map(({ region }) => region)).size).toBe(3);
  }
  expect(onlineOf(employeesOf(["fra"], 10), 4).map(({ region }) => region)).toEqual(
    Array(4).fill("fra"),
  );
  expect(onlineOf(employeesOf(REGIONS, 10), 0)).toEqual([]);
});
