// Counts primes: a range is cut into pieces that are counted side by side, on as many workers as there are.
//
// Kill it or the server at any moment and start it again: no piece whose count was reported is counted again.

import sdk from "@microsoft/durabletask-js";
import { options } from "./server.mjs";

const { RetryPolicy, TaskHubGrpcWorker, whenAll } = sdk;
const inAWhile = new RetryPolicy({
  maxNumberOfAttempts: 5,
  firstRetryIntervalInMilliseconds: 1000,
  backoffCoefficient: 2,
});

// The workflow. Whatever it yields is durable.
async function* primes(ctx, { below, pieces }) {
  const step = Math.ceil(below / pieces);
  const tasks = [];
  for (let from = 0; from < below; from += step) {
    const piece = { from, to: Math.min(from + step, below) };
    tasks.push(ctx.callActivity("count", piece, { retry: inAWhile }));
  }
  ctx.setCustomStatus(`${tasks.length} pieces`);
  const counts = yield whenAll(tasks);
  return counts.reduce((sum, count) => sum + count, 0);
}

async function count(_, { from, to }) {
  // As what is at the other end of a network does, it fails now and then.
  if (Math.random() < 0.1) throw new Error("no answer");
  let found = 0;
  for (let number = Math.max(from, 2); number < to; number++) {
    let prime = true;
    for (let divisor = 2; prime && divisor * divisor <= number; divisor++) prime = number % divisor !== 0;
    if (prime) found++;
  }
  console.log(`${found} primes from ${from} up to ${to}`);
  return found;
}

const worker = new TaskHubGrpcWorker(options);
worker.addNamedOrchestrator("primes", primes);
worker.addNamedActivity("count", count);
await worker.start();
console.log("waiting for work; end with Ctrl+C");
process.once("SIGINT", async () => {
  await worker.stop();
  process.exit(0);
});
