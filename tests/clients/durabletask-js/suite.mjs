// Runs scenarios with the Durable Task SDK for JavaScript against a server:
//   node suite.mjs [--address HOST:PORT] [--key KEY] [--hub NAME] [--in-memory] [--list] [--verbose] [NAME...]
// Prints `ok NAME 0.12s` or `FAILED NAME` with the reason for each, and exits with 1 when one failed.

import { readdirSync } from "node:fs";
import { parseArgs } from "node:util";
import { Server } from "./connection.mjs";
import { Context, scenarios, sleep, startWorker } from "./harness.mjs";
import { CANNOT } from "./in_memory.mjs";

for (const file of readdirSync(import.meta.dirname).sort()) {
  if (file.startsWith("scenarios_") && file.endsWith(".mjs")) await import(`./${file}`);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    address: { type: "string", default: "127.0.0.1:7072" },
    key: { type: "string" },
    hub: { type: "string" },
    "at-once": { type: "string", default: "12" },
    "in-memory": { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});
if (values.list) {
  console.log([...scenarios.keys()].join("\n"));
  process.exit(0);
}
const unknown = positionals.filter((name) => !scenarios.has(name));
if (unknown.length) {
  console.error(`no such scenario: ${unknown.join(", ")}`);
  process.exit(2);
}

const began = performance.now();
const server = new Server(values);
const client = server.client();
const opened = [await startWorker(server)];
const held = [];

// Runs one scenario and prints what came of it.
async function run({ name, run }) {
  const began = performance.now();
  const took = () => `${((performance.now() - began) / 1000).toFixed(2)}s`;
  const context = new Context(server, name, client);
  try {
    await run(context);
    console.log(`ok ${name} ${took()}`);
    held.push(true);
  } catch (error) {
    console.log(`FAILED ${name} ${took()}\n${String(error.stack ?? error).split("\n", 12).join("\n")}\n`);
    held.push(false);
  }
  opened.push(...context.opened);
}

const all = positionals.length ? positionals.map((name) => scenarios.get(name)) : [...scenarios.values()];
const chosen = all.filter(({ name }) => !values["in-memory"] || !(name in CANNOT));
const waiting = chosen.filter((one) => !one.alone);
await Promise.all(
  Array.from({ length: Number(values["at-once"]) }, async () => {
    while (waiting.length) await run(waiting.shift());
  }),
);
for (const one of chosen.filter((one) => one.alone)) await run(one);
await Promise.race([Promise.allSettled(opened.map((worker) => worker.stop())), sleep(10)]);
const seconds = ((performance.now() - began) / 1000).toFixed(1);
console.log(`${held.filter(Boolean).length} of ${held.length} held in ${seconds}s`);
process.exit(held.every(Boolean) ? 0 : 1);
