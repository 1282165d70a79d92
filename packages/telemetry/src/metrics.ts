// packages/telemetry/src/metrics.ts
// The catalogue's metrics as live objects in one registry per node.
//   TE3  Names, labels and help come from the catalogue only; a label that it lacks does not compile.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import { CATALOGUE, type MetricName, type MetricSpec } from "./catalogue.ts";

type LabelsOf<K extends MetricName> = (typeof CATALOGUE)[K]["labels"][number];
type KindOf<K extends MetricName> = (typeof CATALOGUE)[K]["kind"];
type Live<K extends MetricName> =
  KindOf<K> extends "counter"
    ? Counter<LabelsOf<K>>
    : KindOf<K> extends "gauge"
      ? Gauge<LabelsOf<K>>
      : Histogram<LabelsOf<K>>;

export type Metrics = { readonly [K in MetricName]: Live<K> } & {
  /** Text exposition of everything, with the node's own defaults. */
  render(): Promise<{ readonly contentType: string; readonly text: string }>;
};

export function createMetrics(options: { region: string; hasDefaults: boolean }): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ region: options.region });
  if (options.hasDefaults) collectDefaultMetrics({ register: registry });
  const live = Object.entries<MetricSpec>(CATALOGUE).map(([key, spec]) => [
    key,
    create(spec, registry),
  ]);
  const render = async () => ({
    contentType: registry.contentType,
    text: await registry.metrics(),
  });
  return Object.assign(Object.fromEntries(live) as Omit<Metrics, "render">, { render }) as Metrics;
}

function create(spec: MetricSpec, registry: Registry): Counter | Gauge | Histogram {
  const { name, help } = spec;
  const settings = { name, help, labelNames: [...spec.labels], registers: [registry] };
  if (spec.kind === "counter") return new Counter(settings);
  if (spec.kind === "gauge") return new Gauge(settings);
  return new Histogram({ ...settings, buckets: [...(spec.buckets ?? [])] });
}
