// apps/cli/src/demo/employees.ts
// The demonstration's company: always the same people, whenever and wherever they are asked for.
//   DE1  Pure: the n-th employee of a region is the same in every run, so that a second import
//        changes nothing.

export interface Employee {
  readonly recipientId: string;
  readonly homeRegion: string;
  readonly locale: string;
  readonly timeZone: string;
  readonly attributes: Readonly<Record<string, string>>;
}

interface Site {
  readonly site: string;
  readonly country: string;
  readonly locale: string;
  readonly timeZone: string;
}

const DEPARTMENTS = [
  "logistics",
  "retail",
  "care",
  "engineering",
  "sales",
  "finance",
  "human-resources",
] as const;
const SHIFTS = ["early", "late", "night"] as const;

const berlin = { country: "DE", locale: "de-DE", timeZone: "Europe/Berlin" };
const london = { country: "GB", locale: "en-GB", timeZone: "Europe/London" };
const paris = { country: "FR", locale: "fr-FR", timeZone: "Europe/Paris" };
const dublin = { country: "IE", locale: "en-IE", timeZone: "Europe/Dublin" };

const SITES: Readonly<Record<string, readonly Site[]>> = {
  fra: [
    { site: "Frankfurt", ...berlin },
    { site: "Munich", ...berlin },
    { site: "Hamburg", ...berlin },
    { site: "Vienna", country: "AT", locale: "de-AT", timeZone: "Europe/Vienna" },
    { site: "Zurich", country: "CH", locale: "de-CH", timeZone: "Europe/Zurich" },
  ],
  lon: [
    { site: "London", ...london },
    { site: "Manchester", ...london },
    { site: "Edinburgh", ...london },
  ],
  par: [
    { site: "Paris", ...paris },
    { site: "Lyon", ...paris },
    { site: "Brussels", country: "BE", locale: "fr-BE", timeZone: "Europe/Brussels" },
  ],
  dub: [
    { site: "Dublin", ...dublin },
    { site: "Cork", ...dublin },
  ],
};
const ELSEWHERE: readonly Site[] = [
  { site: "Amsterdam", country: "NL", locale: "nl-NL", timeZone: "Europe/Amsterdam" },
  { site: "Madrid", country: "ES", locale: "es-ES", timeZone: "Europe/Madrid" },
];

/** `count` employees by region: the first region has most, the last fewest. Pure (DE1). */
export function employeesOf(
  regions: readonly string[],
  count: number,
): ReadonlyMap<string, readonly Employee[]> {
  const weights = regions.map((_, index) => regions.length - index);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const shares = weights.map((weight) => Math.floor((count * weight) / total));
  const left = count - shares.reduce((sum, share) => sum + share, 0);
  return new Map(
    regions.map((region, index) => [
      region,
      Array.from({ length: (shares[index] ?? 0) + (index < left ? 1 : 0) }, (_, n) =>
        employeeOf(region, n),
      ),
    ]),
  );
}

/** The n-th employee (from 0) of a region. Pure. */
export function employeeOf(region: string, n: number): Employee {
  const { site, country, locale, timeZone } = pick(SITES[region] ?? ELSEWHERE, n);
  return {
    recipientId: `emp-${region}-${String(n + 1).padStart(5, "0")}`,
    homeRegion: region,
    locale,
    timeZone,
    attributes: {
      department: pick(DEPARTMENTS, Math.floor(n / 2) + n * 3),
      shift: pick(SHIFTS, Math.floor(n / 7)),
      country,
      site,
    },
  };
}

function pick<T>(values: readonly T[], n: number): T {
  return values[n % values.length] as T;
}

export interface SessionWish {
  readonly employee: Employee;
  readonly region: string; // where it connects
}

const ELSEWHERE_EVERY = 4; // a quarter of the sockets is in a region that is not the home

/** Who is online, and where: `count` sockets, spread over regions as the employees are. Pure. */
export function onlineOf(
  employees: ReadonlyMap<string, readonly Employee[]>,
  count: number,
): SessionWish[] {
  const regions = [...employees.keys()];
  const total = [...employees.values()].reduce((sum, people) => sum + people.length, 0);
  const every = Math.max(1, total / Math.max(1, count));
  const wishes: SessionWish[] = [];
  for (const [home, people] of employees) {
    const others = regions.filter((region) => region !== home);
    for (let k = 0; k * every < people.length; k++) {
      const employee = people[Math.floor(k * every)];
      if (employee === undefined || wishes.length >= count) break;
      const isElsewhere = others.length > 0 && k % ELSEWHERE_EVERY === ELSEWHERE_EVERY - 1;
      const region = isElsewhere ? pick(others, Math.floor(k / ELSEWHERE_EVERY)) : home;
      wishes.push({ employee, region });
    }
  }
  return wishes;
}
