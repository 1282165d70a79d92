// test/chaos/cut-volume.ts
// A disk whose power can be cut: an ext4 file system on a loop device, whose own image lies on another
// one. To freeze the outer file system stops what the inner one's device writes, at an instant and
// without telling it: what is in the page cache, or in a file that nobody has synced, is not there.
// Kinder than a real disk in one thing: what the device has taken is kept, flushed or not.
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const TOOLS = ["mkfs.ext4", "mount", "umount", "losetup", "fsfreeze", "cp", "sync"];
const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

/** Undefined where volumes can be made; otherwise why the tests are skipped. */
export function whyNoVolumes(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "not root on Linux";
  const missing = TOOLS.filter(
    (tool) => spawnSync("which", [tool], { env: { PATH } }).status !== 0,
  );
  if (missing.length > 0) return `no ${missing.join(", ")}`;
  return spawnSync("losetup", ["-f"], { env: { PATH } }).status === 0
    ? undefined
    : "no loop device";
}

export class CutVolume {
  /** Where the disk is mounted; the same before and after a cut. */
  readonly path: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "carillon-power-"));
  readonly #outer: string;
  readonly #mounted: string[] = [];
  #isFrozen = false;

  constructor(sizeMib: number) {
    chmodSync(this.#folder, 0o711); // Postgres' user goes through it
    this.path = join(this.#folder, "disk");
    this.#outer = join(this.#folder, "outer");
    this.#mount(this.#newImage(join(this.#folder, "outer.img"), sizeMib + 256), this.#outer);
    this.#mount(this.#newImage(this.#image, sizeMib), this.path);
  }

  /** What is not on the device now is lost with the next cut. */
  sync(): void {
    run("sync", "-f", this.path);
  }

  /** The power goes: from here on nothing reaches the device. Whoever syncs waits until `restore`. */
  cut(): void {
    run("fsfreeze", "--freeze", this.#outer);
    this.#isFrozen = true;
    run("cp", "--sparse=always", this.#image, this.#copy);
  }

  /** Lets those who wait go on, so that they can be ended; what they do now is lost. */
  thaw(): void {
    if (!this.#isFrozen) return;
    this.#isFrozen = false;
    run("fsfreeze", "--unfreeze", this.#outer);
  }

  /** The machine is back with the disk as it was at the cut. Nobody may use it. */
  restore(): void {
    this.#unmount(this.path);
    run("cp", "--sparse=always", this.#copy, this.#image);
    this.#mount(this.#image, this.path); // replays the file system's journal
  }

  remove(): void {
    this.thaw();
    for (const path of this.#mounted.toReversed()) this.#unmount(path);
    rmSync(this.#folder, { recursive: true });
  }

  get #image(): string {
    return join(this.#outer, "disk.img");
  }

  get #copy(): string {
    return join(this.#folder, "cut.img");
  }

  #newImage(path: string, sizeMib: number): string {
    writeFileSync(path, "");
    truncateSync(path, sizeMib * 2 ** 20);
    run("mkfs.ext4", "-q", "-F", path);
    return path;
  }

  #mount(image: string, at: string): void {
    mkdirSync(at, { recursive: true });
    run("mount", "-o", "loop,noatime", image, at);
    chmodSync(at, 0o755);
    this.#mounted.push(at);
  }

  #unmount(path: string): void {
    run("umount", path); // frees the loop device, too
    this.#mounted.splice(this.#mounted.indexOf(path), 1);
  }
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { env: { PATH }, stdio: ["ignore", "ignore", "inherit"] });
}
