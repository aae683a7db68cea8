// Has the primes below a million counted in 50 pieces, and prints how many there are.

import sdk from "@microsoft/durabletask-js";
import { options } from "./server.mjs";

const client = new sdk.TaskHubGrpcClient(options);
const instance = await client.scheduleNewOrchestration("primes", { below: 1_000_000, pieces: 50 });
console.log(`${instance}: started`);
const state = await client.waitForOrchestrationCompletion(instance, true, 120);
console.log(`${instance}: ${sdk.OrchestrationStatus[state.runtimeStatus]}, ${state.serializedOutput} primes`);
await client.stop();
