// packages/store/src/driver.ts
// The driver `postgres`, mended while it is loaded (ADR 0018). Of version 3.4.9 a database that goes
// away can end the whole node, or leave a connection on which nothing is ever sent again; what is
// proposed upstream has not been released. Nothing is written to disk, and a version with other
// text is refused at the start instead of being half mended.
//   ST26 A database that ends its connections at any moment costs the statements that are under way,
//        each with an error, and nothing else.
import { type ModuleSource, registerHooks } from "node:module";
import type postgresType from "postgres";

interface Mend {
  readonly from: string;
  readonly to: string;
}

/** Of postgres/src/connection.js. Source: issues 1154, 1208, 896 of porsager/postgres. */
const MENDS: readonly Mend[] = [
  {
    // A statement on a connection that was lost (the rollback of a transaction, for one) is written in
    // the next turn of the loop, when there is no socket: an exception that nobody can catch.
    from: `  function nextWrite(fn) {
`,
    to: `  function nextWrite(fn) {
    if (socket === null) {
      chunk = nextWriteTimer = null
      error(Errors.connection('CONNECTION_CLOSED', options, socket))
      return true
    }
`,
  },
  {
    // A write that is called off stays marked as planned, so that nothing is written on the next
    // connection either; and what was to be written would be its first words.
    from: `    incomings = null
    clearImmediate(nextWriteTimer)
`,
    to: `    incomings = null
    clearImmediate(nextWriteTimer)
    chunk = nextWriteTimer = null
`,
  },
  {
    from: `      error(Errors.connection('CONNECTION_DESTROYED', options))

    clearImmediate(nextWriteTimer)
`,
    to: `      error(Errors.connection('CONNECTION_DESTROYED', options))

    clearImmediate(nextWriteTimer)
    chunk = nextWriteTimer = null
`,
  },
  {
    // What was begun between a socket's error and its close would wait for ever.
    from: `    !hadError && (query || sent.length) && error(`,
    to: `    ;(query || sent.length) && error(`,
  },
  {
    // The driver's own first question on a connection: its failure is told to nobody who could hear it.
    from: `        return fetchArrayTypes()
`,
    to: `        return fetchArrayTypes().catch(() => undefined) // \`initial\` is told by error()
`,
  },
];

/** On the driver once it is mended: a module is loaded once, whoever imports this file how often. */
const MARK = "isMendedByCarillon";

export const postgres = await load();

async function load(): Promise<typeof postgresType> {
  const hooks = registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.includes("/node_modules/postgres/src/")) return loaded;
      if (url.endsWith("/connection.js"))
        return { ...loaded, source: mended(textOf(loaded.source)) };
      if (!url.endsWith("/index.js")) return loaded;
      return { ...loaded, source: `${textOf(loaded.source)}\nPostgres.${MARK} = true\n` };
    },
  });
  try {
    const { default: driver } = await import("postgres");
    if (MARK in driver) return driver;
    throw new Error("ST26 the driver postgres was loaded before it could be mended");
  } finally {
    hooks.deregister();
  }
}

function textOf(source: ModuleSource | undefined): string {
  if (typeof source === "string") return source;
  return new TextDecoder().decode(source);
}

function mended(source: string): string {
  return MENDS.reduce((text, { from, to }) => {
    const count = text.split(from).length - 1;
    if (count === 1) return text.replace(from, () => to);
    throw new Error(
      `ST26 postgres/src/connection.js holds ${count} times, and not once: ${from.trim()}. ` +
        "Another version? See ADR 0018: install 3.4.9, or look what of driver.ts is still needed.",
    );
  }, source);
}
