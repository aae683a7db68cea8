// The registry of scenarios and of the functions that the shared worker serves, and what each scenario is given.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import sdk from "@microsoft/durabletask-js";

export const { OrchestrationStatus: Status } = sdk;

// No scenario waits longer than this many seconds for any one thing.
export const PATIENCE = 30;

export const scenarios = new Map();
const shared = { orchestrators: {}, activities: {}, entities: {} };

// Registers a scenario; one that is `alone` touches instances of others and runs when they are through.
export function scenario(name, run, { alone = false } = {}) {
  assert(!scenarios.has(name), `two scenarios are called ${name}`);
  scenarios.set(name, { name, run, alone });
}

// Registers an orchestrator with the shared worker.
export function orchestrator(name, run) {
  shared.orchestrators[name] = run;
}

// Registers an activity with the shared worker.
export function activity(name, run) {
  shared.activities[name] = run;
}

// Registers an entity with the shared worker.
export function entity(name, make) {
  shared.entities[name] = make;
}

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// Counts what ran, by a key; the workers run in this process.
export class Calls {
  #counts = new Map();

  add(key) {
    this.#counts.set(key, this.of(key) + 1);
    return this.of(key);
  }

  of(key) {
    return this.#counts.get(key) ?? 0;
  }
}

// A running worker. Unless told otherwise it takes only what it serves, so that workers do not disturb each other.
export async function startWorker(server, functions = shared) {
  const { orchestrators = {}, activities = {}, entities = {}, filters = "auto", versioning } = functions;
  const worker = server.worker({ workItemFilters: filters, versioning });
  for (const [name, run] of Object.entries(orchestrators)) worker.addNamedOrchestrator(name, run);
  for (const [name, run] of Object.entries(activities)) worker.addNamedActivity(name, run);
  for (const [name, make] of Object.entries(entities)) worker.addNamedEntity(name, make);
  await worker.start();
  return worker;
}

// What a scenario works with: a client, ids that nobody else has, bounded waits.
export class Context {
  opened = [];
  run = randomUUID().slice(0, 8);

  constructor(server, name, client) {
    this.server = server;
    this.name = name;
    this.client = client;
  }

  // An instance id, entity key or name that only this run of this scenario has.
  id(label = "x") {
    return `${this.name}-${label}-${this.run}`;
  }

  // A worker of this scenario's own; it is stopped when the suite ends.
  async worker(functions) {
    const worker = await startWorker(this.server, functions);
    this.opened.push(worker);
    return worker;
  }

  // Starts an instance and tells its id.
  async start(name, input, options = {}) {
    const instanceId = this.id(randomUUID().slice(0, 6));
    return await this.client.scheduleNewOrchestration(name, input, { instanceId, ...options });
  }

  // Waits for the end of an instance, which shall be of this status.
  async wait(instance, status, seconds = PATIENCE) {
    const state = await this.client.waitForOrchestrationCompletion(instance, true, seconds);
    assert(state, `${instance} is not there`);
    const why = `${instance}: ${state.serializedOutput} ${state.failureDetails?.message}`;
    if (status !== undefined) assert.equal(Status[state.runtimeStatus], Status[status], why);
    return state;
  }

  // Runs an instance, which shall complete, and gives its output.
  async complete(name, input, options) {
    return output(await this.wait(await this.start(name, input, options), Status.COMPLETED));
  }

  // The status of an instance now, undefined when there is none.
  async status(instance) {
    return (await this.client.getOrchestrationState(instance))?.runtimeStatus;
  }

  // Waits until the first turn of an instance is done.
  async running(instance) {
    const state = await this.client.waitForOrchestrationStart(instance, false, PATIENCE);
    assert.equal(state?.runtimeStatus, Status.RUNNING);
  }

  // Waits until an instance has a status which is not its end.
  async reaches(instance, status) {
    await this.until(async () => (await this.status(instance)) === status, `${instance} is ${Status[status]}`);
  }

  // Polls until the predicate gives something, and gives that.
  async until(predicate, what) {
    const deadline = Date.now() + PATIENCE * 1000;
    for (;;) {
      const found = await predicate();
      if (found) return found;
      assert(Date.now() < deadline, `not within ${PATIENCE} s: ${what}`);
      await sleep(0.05);
    }
  }
}

// The output of an instance.
export function output(state) {
  return state.serializedOutput ? JSON.parse(state.serializedOutput) : undefined;
}

// Asserts that a call is answered with this gRPC status.
export async function refused(code, call) {
  await assert.rejects(call, (error) => (error.code ?? error.cause?.code) === code);
}
