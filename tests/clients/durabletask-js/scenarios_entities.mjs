// Entities: signals, calls, state, failures, deletion, queries, critical sections.

import assert from "node:assert/strict";
import sdk from "@microsoft/durabletask-js";
import { Status, entity, orchestrator, output, scenario, sleep } from "./harness.mjs";

const { EntityInstanceId, TaskEntity, whenAll } = sdk;

class Counter extends TaskEntity {
  initializeState() {
    return { n: 0 };
  }
  add(amount) {
    this.state.n += amount;
    return this.state.n;
  }
  get() {
    return this.state.n;
  }
  set(n) {
    this.state.n = n;
  }
  addAndFail(amount) {
    this.state.n += amount;
    this.context.signalEntity(this.context.id, "add", 1_000_000);
    throw new RangeError(`after adding ${amount}`);
  }
  passOn({ key, amount }) {
    this.context.signalEntity(new EntityInstanceId("Counter", key), "add", amount);
  }
  begin({ name, input, instanceId }) {
    return this.context.scheduleNewOrchestration(name, input, { instanceId });
  }
}

entity("Counter", () => new Counter());

const counter = (t, label = "k") => new EntityInstanceId("Counter", t.id(label));
// The SDK throws where one asks for the state of an entity that has none.
const value = async (t, id) => {
  const found = await t.client.getEntity(id);
  return found?.includesState ? found.state.n : undefined;
};
const has = (t, id, wanted) => t.until(async () => (await value(t, id)) === wanted, `${id} is ${wanted}`);

scenario("entity_is_signalled", async (t) => {
  const [mine, other] = [counter(t), counter(t, "other")];
  assert.equal(await t.client.getEntity(mine), undefined);
  for (const amount of [1, 20, 300]) await t.client.signalEntity(mine, "add", amount);
  await t.client.signalEntity(other, "add", -5);
  await has(t, mine, 321);
  await has(t, other, -5);
  const found = await t.client.getEntity(mine);
  assert.equal(found.id.toString(), mine.toString());
  assert(found.includesState && Math.abs(Date.now() - found.lastModifiedTime) < 60_000 && !found.lockedBy);
  assert.equal((await t.client.getEntity(mine, false)).includesState, false);
});

orchestrator("entity_calls", async function* (ctx, name) {
  const mine = EntityInstanceId.fromString(name);
  const answers = [yield ctx.entities.callEntity(mine, "add", 5), yield ctx.entities.callEntity(mine, "add", 7)];
  ctx.entities.signalEntity(mine, "add", 100);
  answers.push(yield ctx.entities.callEntity(mine, "get"));
  try {
    yield ctx.entities.callEntity(mine, "addAndFail", 10);
  } catch (error) {
    answers.push(error.failureDetails.errorMessage);
  }
  answers.push(yield ctx.entities.callEntity(mine, "get"));
  return answers;
});

scenario("entity_is_called", async (t) => {
  const mine = counter(t);
  assert.deepEqual(await t.complete("entity_calls", mine.toString()), [5, 12, 112, "after adding 10", 112]);
  await sleep(0.3);
  assert.equal(await value(t, mine), 112);
});

orchestrator("entity_calls_many", async function* (ctx, names) {
  return yield whenAll(names.map((name) => ctx.entities.callEntity(EntityInstanceId.fromString(name), "add", 1)));
});

scenario("entities_are_called_in_parallel", async (t) => {
  const names = [1, 2, 3, 4].map((i) => counter(t, i).toString());
  assert.deepEqual(await t.complete("entity_calls_many", [...names, ...names]), [1, 1, 1, 1, 2, 2, 2, 2]);
});

orchestrator("entity_begun", async (_, input) => ({ "begun with": input }));

scenario("entity_starts_and_signals_others", async (t) => {
  const [first, second, instanceId] = [counter(t, "first"), counter(t, "second"), t.id("begun")];
  await t.client.signalEntity(first, "passOn", { key: second.key, amount: 10 });
  await t.client.signalEntity(first, "begin", { name: "entity_begun", input: [1, 2], instanceId });
  await has(t, second, 10);
  await t.until(async () => (await t.status(instanceId)) === Status.COMPLETED, "what the entity starts completes");
  assert.deepEqual(output(await t.client.getOrchestrationState(instanceId)), { "begun with": [1, 2] });
});

scenario("signals_with_a_time", async (t) => {
  const mine = counter(t);
  const began = Date.now();
  await t.client.signalEntity(mine, "add", 5, { signalTime: new Date(began + 1000) });
  await t.client.signalEntity(mine, "add", 1);
  await has(t, mine, 1);
  await has(t, mine, 6);
  assert(Date.now() - began >= 950, "before its time");
});

scenario("entity_is_deleted", async (t) => {
  const mine = counter(t);
  await t.client.signalEntity(mine, "add", 3);
  await has(t, mine, 3);
  await t.client.signalEntity(mine, "delete");
  await has(t, mine, undefined);
  await t.client.signalEntity(mine, "add", 4);
  await has(t, mine, 4);
});

scenario("query_entities", async (t) => {
  const prefix = t.id();
  const keys = Array.from({ length: 11 }, (_, i) => `${prefix}-${String(i).padStart(2, "0")}`);
  for (const key of keys) await t.client.signalEntity(new EntityInstanceId("Counter", key), "add", 1);
  for (const key of keys) await has(t, new EntityInstanceId("Counter", key), 1);
  const seen = [];
  for await (const page of t.client.getEntities({ instanceIdStartsWith: `Counter@${prefix}`, pageSize: 4 }).asPages()) {
    assert(page.values.length <= 4);
    for (const one of page.values) {
      assert.equal(one.state.n, 1);
      seen.push(one.id.key);
    }
  }
  assert.deepEqual(seen, keys);
  const bare = { instanceIdStartsWith: `@Counter@${prefix}-05`, includeState: false };
  for await (const one of t.client.getEntities(bare)) {
    assert.deepEqual([one.id.key, one.includesState], [keys[5], false]);
  }
  const young = { instanceIdStartsWith: `@counter@${prefix}`, lastModifiedFrom: new Date(Date.now() + 60_000) };
  for await (const one of t.client.getEntities(young)) assert.fail(`${one.id} is not that young`);
});

orchestrator("transfer", async function* (ctx, { source, target, times }) {
  const [from, to] = [EntityInstanceId.fromString(source), EntityInstanceId.fromString(target)];
  for (let i = 0; i < times; i++) {
    const lock = yield ctx.entities.lockEntities(from, to);
    const ofSource = yield ctx.entities.callEntity(from, "get");
    const ofTarget = yield ctx.entities.callEntity(to, "get");
    yield ctx.createTimer(0.01);
    yield ctx.entities.callEntity(from, "set", ofSource - 1);
    yield ctx.entities.callEntity(to, "set", ofTarget + 1);
    lock.release();
  }
});

scenario("locks_exclude_each_other", async (t) => {
  const [a, b] = [counter(t, "a"), counter(t, "b")];
  const there = { source: a.toString(), target: b.toString(), times: 5 };
  const back = { source: b.toString(), target: a.toString(), times: 3 };
  const started = await Promise.all([there, there, back, there, back].map((plan) => t.start("transfer", plan)));
  for (const instance of started) await t.wait(instance, Status.COMPLETED);
  assert.deepEqual([await value(t, a), await value(t, b)], [-9, 9]);
});

orchestrator("hold", async function* (ctx, name) {
  const lock = yield ctx.entities.lockEntities(EntityInstanceId.fromString(name));
  ctx.setCustomStatus("locked");
  yield ctx.waitForExternalEvent("release");
  lock.release();
});
orchestrator("read", async function* (ctx, name) {
  return yield ctx.entities.callEntity(EntityInstanceId.fromString(name), "get");
});

scenario("locked_entity_lets_others_wait", async (t) => {
  const mine = counter(t);
  const holder = await t.start("hold", mine.toString());
  const locked = async () => (await t.client.getOrchestrationState(holder)).serializedCustomStatus === '"locked"';
  await t.until(locked, "the lock is granted");
  const [reader, second] = [await t.start("read", mine.toString()), await t.start("hold", mine.toString())];
  await sleep(1);
  assert.equal(await t.status(reader), Status.RUNNING, "it called an entity that another one holds");
  await t.client.raiseOrchestrationEvent(second, "release");
  await t.client.raiseOrchestrationEvent(holder, "release");
  for (const instance of [holder, reader, second]) await t.wait(instance, Status.COMPLETED);
});

scenario("clean_entity_storage", async (t) => {
  const mine = counter(t);
  await t.client.signalEntity(mine, "add", 3);
  await has(t, mine, 3);
  await t.client.signalEntity(mine, "delete");
  await has(t, mine, undefined);
  const cleaned = await t.client.cleanEntityStorage();
  assert(cleaned.emptyEntitiesRemoved >= 0 && cleaned.orphanedLocksReleased === 0);
  assert.equal(await t.client.getEntity(mine), undefined);
}, { alone: true }); // prettier-ignore
