export { createWorker, type Worker, type WorkerDeps, type WorkerOptions } from "./worker.ts";
