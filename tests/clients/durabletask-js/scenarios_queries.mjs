// Finding instances, histories, purging, rewinding, restarting, and what is not there.

import assert from "node:assert/strict";
import sdk from "@microsoft/durabletask-js";
import { Calls, Status, activity, orchestrator, output, refused, scenario, sleep } from "./harness.mjs";

const { PurgeInstanceCriteria, whenAll } = sdk;
const NOT_FOUND = 5;
const FAILED_PRECONDITION = 9;
const ALREADY_EXISTS = 6;
const UNAUTHENTICATED = 16;
const calls = new Calls();
const broken = new Set();

orchestrator("wish", async function* (ctx, wish) {
  ctx.setCustomStatus(`asked to ${wish}`);
  if (wish === "fail") throw new Error("as asked");
  if (wish === "wait") return yield ctx.waitForExternalEvent("go");
  return `did ${wish}`;
});

async function found(t, filter) {
  const ids = [];
  for await (const state of t.client.getAllInstances(filter)) ids.push(state.instanceId.split("-").at(-1));
  assert.equal(new Set(ids).size, ids.length, `twice in one query: ${ids}`);
  return ids.sort();
}

scenario("query_by_status_time_and_prefix", async (t) => {
  const instanceIdPrefix = t.id("all");
  const begin = async (wish) => await t.start("wish", wish, { instanceId: `${instanceIdPrefix}-${wish}` });
  const before = new Date();
  await t.wait(await begin("fail"), Status.FAILED);
  await t.wait(await begin("end"), Status.COMPLETED);
  const running = await begin("wait");
  await t.running(running);
  await sleep(0.05);
  const middle = new Date();
  await sleep(0.05);
  await t.wait(await begin("last"), Status.COMPLETED);
  assert.deepEqual(await found(t, { instanceIdPrefix }), ["end", "fail", "last", "wait"]);
  assert.deepEqual(await found(t, { instanceIdPrefix, statuses: [Status.COMPLETED] }), ["end", "last"]);
  assert.deepEqual(await found(t, { instanceIdPrefix, statuses: [Status.RUNNING, Status.FAILED] }), ["fail", "wait"]);
  assert.deepEqual(await found(t, { instanceIdPrefix, createdFrom: middle }), ["last"]);
  assert.deepEqual(await found(t, { instanceIdPrefix, createdTo: middle }), ["end", "fail", "wait"]);
  assert.deepEqual(await found(t, { instanceIdPrefix, createdTo: before }), []);
  const query = { instanceIdPrefix: `${instanceIdPrefix}-e`, fetchInputsAndOutputs: true };
  for await (const state of t.client.getAllInstances(query)) {
    assert.deepEqual([state.serializedInput, state.serializedOutput], ['"end"', '"did end"']);
    assert.equal(state.serializedCustomStatus, '"asked to end"');
  }
  await t.client.terminateOrchestration(running);
});

scenario("query_in_pages", async (t) => {
  const instanceIdPrefix = t.id("page");
  const ids = Array.from({ length: 11 }, (_, i) => `${instanceIdPrefix}-${String(i).padStart(2, "0")}`);
  for (const instanceId of ids) await t.start("wish", "end", { instanceId });
  for (const instanceId of ids) await t.wait(instanceId, Status.COMPLETED);
  const sizes = [];
  const seen = [];
  for await (const page of t.client.getAllInstances({ instanceIdPrefix, pageSize: 4 }).asPages()) {
    sizes.push(page.values.length);
    seen.push(...page.values.map((state) => state.instanceId));
  }
  assert.deepEqual(seen.sort(), ids);
  assert(Math.max(...sizes) <= 4 && sizes.length >= 3, `${sizes}`);
});

scenario("list_ids_by_completion", async (t) => {
  const completedTimeFrom = new Date();
  const ids = [];
  for (let i = 0; i < 7; i++) {
    ids.push(await t.start("wish", "end"));
    await t.wait(ids.at(-1), Status.COMPLETED);
  }
  await sleep(0.05);
  const options = { completedTimeFrom, completedTimeTo: new Date(), pageSize: 3, runtimeStatus: [Status.COMPLETED] };
  const seen = [];
  for (let page; page === undefined || page.hasMoreResults; ) {
    page = await t.client.listInstanceIds({ ...options, lastInstanceKey: page?.continuationToken });
    assert(page.values.length <= 3);
    seen.push(...page.values);
  }
  assert.equal(new Set(seen).size, seen.length);
  assert.deepEqual(seen.filter((one) => ids.includes(one)), ids);
});

orchestrator("everything", async function* (ctx) {
  yield ctx.callActivity("plus_one", 1);
  yield ctx.createTimer(0.05);
  yield ctx.callSubOrchestrator("wish", "end");
  return yield ctx.waitForExternalEvent("Mixed Case");
});

scenario("history_of_an_instance", async (t) => {
  const instance = await t.start("everything", { in: 1 });
  await t.client.raiseOrchestrationEvent(instance, "Mixed Case", { e: 1 });
  await t.wait(instance, Status.COMPLETED);
  const history = await t.client.getOrchestrationHistory(instance);
  const only = (type) => {
    const all = history.filter((event) => event.type === type);
    assert.equal(all.length, 1, `${type}: ${all.length}`);
    return all[0];
  };
  assert.deepEqual([only("ExecutionStarted").name, only("ExecutionStarted").input], ["everything", '{"in":1}']);
  assert.deepEqual([only("TaskScheduled").name, only("TaskScheduled").input], ["plus_one", "1"]);
  assert.equal(only("TaskCompleted").result, "2");
  assert.equal(only("TimerFired").timerId, only("TimerCreated").eventId);
  assert.equal(only("SubOrchestrationInstanceCreated").name, "wish");
  assert.equal(only("SubOrchestrationInstanceCompleted").result, '"did end"');
  assert.deepEqual([only("EventRaised").name, only("EventRaised").input], ["Mixed Case", '{"e":1}']);
  assert.equal(only("ExecutionCompleted").result, '{"e":1}');
  assert.deepEqual(await t.client.getOrchestrationHistory(t.id("nobody")), []);
});

orchestrator("purged", async function* (ctx, depth) {
  if (depth) yield ctx.callSubOrchestrator("purged", depth - 1, { instanceId: `${ctx.instanceId}.c` });
});

scenario("purge", async (t) => {
  const [whole, root] = [await t.start("purged", 2), await t.start("purged", 1)];
  const running = await t.start("wish", "wait");
  await t.wait(whole, Status.COMPLETED);
  await t.wait(root, Status.COMPLETED);
  await t.running(running);
  assert.equal((await t.client.purgeOrchestration(whole, { recursive: true })).deletedInstanceCount, 3);
  assert.equal((await t.client.purgeOrchestration(root)).deletedInstanceCount, 1);
  for (const gone of [whole, `${whole}.c.c`, root]) assert.equal(await t.status(gone), undefined);
  assert.equal(await t.status(`${root}.c`), Status.COMPLETED);
  assert.equal((await t.client.purgeOrchestration(running)).deletedInstanceCount, 0);
  assert.equal((await t.client.purgeOrchestration(t.id("nobody"))).deletedInstanceCount, 0);
  await t.client.terminateOrchestration(running);
});

scenario("purge_by_filter", async (t) => {
  const before = new Date();
  await sleep(0.02);
  const [done, failed] = [await t.start("wish", "end"), await t.start("wish", "fail")];
  await t.wait(done, Status.COMPLETED);
  await t.wait(failed, Status.FAILED);
  const criteria = new PurgeInstanceCriteria();
  criteria.setCreatedTimeFrom(before);
  criteria.setCreatedTimeTo(new Date(Date.now() + 1000));
  criteria.setRuntimeStatusList([Status.FAILED]);
  criteria.setTimeout(30_000);
  assert.equal((await t.client.purgeOrchestration(criteria)).deletedInstanceCount, 1);
  assert.deepEqual([await t.status(done), await t.status(failed)], [Status.COMPLETED, undefined]);
}, { alone: true }); // prettier-ignore

activity("breaking", (_, { key, step }) => {
  calls.add(`${key} ${step}`);
  if (broken.has(`${key} ${step}`)) throw new Error(`${step} is broken`);
  return `${step} done`;
});
orchestrator("rewound_child", async function* (ctx, plan) {
  return yield ctx.callActivity("breaking", plan);
});
orchestrator("rewound", async function* (ctx, key) {
  const steps = ["a", "b", "c"].map((step) => ctx.callActivity("breaking", { key, step }));
  return [...(yield whenAll(steps)), yield ctx.callSubOrchestrator("rewound_child", { key, step: "child" })];
});

scenario("rewind", async (t) => {
  const key = t.id();
  broken.add(`${key} b`).add(`${key} child`);
  const instance = await t.start("rewound", key);
  await t.wait(instance, Status.FAILED);
  broken.delete(`${key} b`);
  await t.client.rewindInstance(instance, "mended");
  assert.match((await t.wait(instance, Status.FAILED)).failureDetails.message, /child is broken/);
  broken.delete(`${key} child`);
  await t.client.rewindInstance(instance, "mended again");
  assert.deepEqual(output(await t.wait(instance, Status.COMPLETED)), ["a done", "b done", "c done", "child done"]);
  assert.deepEqual(["a", "b", "c", "child"].map((step) => calls.of(`${key} ${step}`)), [1, 2, 1, 2]);
  await refused(FAILED_PRECONDITION, () => t.client.rewindInstance(instance, "again"));
  await refused(NOT_FOUND, () => t.client.rewindInstance(t.id("nobody"), "x"));
});

orchestrator("restarted", async function* (ctx, value) {
  return [value, yield ctx.waitForExternalEvent("go")];
});

scenario("restart", async (t) => {
  const instance = await t.start("restarted", { a: 1 });
  await t.running(instance);
  await refused(FAILED_PRECONDITION, () => t.client.restartOrchestration(instance));
  await t.client.raiseOrchestrationEvent(instance, "go", 1);
  assert.deepEqual(output(await t.wait(instance, Status.COMPLETED)), [{ a: 1 }, 1]);
  assert.equal(await t.client.restartOrchestration(instance), instance);
  await t.client.raiseOrchestrationEvent(instance, "go", 2);
  assert.deepEqual(output(await t.wait(instance, Status.COMPLETED)), [{ a: 1 }, 2]);
  const other = await t.client.restartOrchestration(instance, true);
  assert.notEqual(other, instance);
  await t.client.raiseOrchestrationEvent(other, "go", 3);
  assert.deepEqual(output(await t.wait(other, Status.COMPLETED)), [{ a: 1 }, 3]);
  await refused(NOT_FOUND, () => t.client.restartOrchestration(t.id("nobody")));
});

scenario("what_is_not_there", async (t) => {
  const nobody = t.id("nobody");
  assert.equal(await t.client.getOrchestrationState(nobody), undefined);
  await refused(NOT_FOUND, () => t.client.raiseOrchestrationEvent(nobody, "e"));
  await refused(NOT_FOUND, () => t.client.suspendOrchestration(nobody));
  await refused(NOT_FOUND, () => t.client.resumeOrchestration(nobody));
  const waiting = await t.start("wish", "wait");
  await t.running(waiting);
  await refused(ALREADY_EXISTS, () => t.start("wish", "end", { instanceId: waiting }));
  await assert.rejects(t.client.waitForOrchestrationCompletion(waiting, true, 1), { name: "TimeoutError" });
  await assert.rejects(t.client.waitForOrchestrationStart(await t.start(nobody), true, 1), { name: "TimeoutError" });
  await t.client.terminateOrchestration(waiting);
});

scenario("wrong_key", async (t) => {
  if (!t.server.key) return;
  const { default: grpc } = await import("@grpc/grpc-js");
  for (const value of [undefined, "Bearer wrong", t.server.key]) {
    const metadataGenerator = async () => {
      const metadata = new grpc.Metadata();
      if (value) metadata.set("authorization", value);
      return metadata;
    };
    const client = t.server.client({ metadataGenerator });
    await refused(UNAUTHENTICATED, () => client.getOrchestrationState("x"));
    await client.stop();
  }
});
