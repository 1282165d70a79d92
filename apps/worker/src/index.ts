export { createWorker, type Worker } from "./worker.ts";
export type { WorkerDeps, WorkerOptions } from "./worker-options.ts";
