// Orchestrations and activities: chains, fan-out, children, timers, custom status, exact payloads, tags, failures.

import assert from "node:assert/strict";
import sdk from "@microsoft/durabletask-js";
import { Calls, Status, activity, orchestrator, output, scenario, sleep } from "./harness.mjs";

const { whenAll, whenAny } = sdk;
const calls = new Calls();
const seen = new Map();

activity("plus_one", (_, number) => number + 1);
activity("echo", async (_, value) => value);
activity("count", (context, key) => calls.add(`${context.orchestrationId} ${key}`));
activity("slow", async (_, seconds) => (await sleep(seconds), seconds));
activity("fail", (_, reason) => {
  throw new RangeError(reason, { cause: new TypeError("the cause") });
});

orchestrator("chain", async function* (ctx, start) {
  const numbers = [start];
  for (let i = 0; i < 5; i++) numbers.push(yield ctx.callActivity("plus_one", numbers.at(-1)));
  return numbers;
});

scenario("chain", async (t) => {
  const instance = await t.start("chain", 1);
  const state = await t.wait(instance, Status.COMPLETED);
  assert.equal(state.serializedOutput, "[1,2,3,4,5,6]");
  assert.equal(state.serializedInput, "1");
  assert.equal(state.name, "chain");
  assert.equal(state.instanceId, instance);
  assert.equal(state.failureDetails, undefined);
  assert(Math.abs(Date.now() - state.createdAt) < 60_000 && state.createdAt <= state.lastUpdatedAt);
});

orchestrator("nothing", async () => undefined);

scenario("nothing_in_nothing_out", async (t) => {
  const state = await t.wait(await t.start("nothing"), Status.COMPLETED);
  assert(!state.serializedInput && !state.serializedOutput && !state.serializedCustomStatus);
});

orchestrator("fan_out", async function* (ctx, count) {
  return yield whenAll(Array.from({ length: count }, (_, i) => ctx.callActivity("count", i)));
});

scenario("fan_out_and_in", async (t) => {
  assert.deepEqual(await t.complete("fan_out", 50), Array(50).fill(1));
});

orchestrator("first_of", async function* (ctx) {
  const [slow, fast] = [ctx.callActivity("slow", 3), ctx.callActivity("echo", "fast")];
  const winner = yield whenAny([slow, fast]);
  return winner === fast ? winner.getResult() : "slow";
});

scenario("first_of_two", async (t) => assert.equal(await t.complete("first_of"), "fast"));

orchestrator("child", async function* (ctx, number) {
  const result = yield ctx.callActivity("plus_one", number);
  return { me: ctx.instanceId, parent: ctx.parent, result };
});
orchestrator("parent", async function* (ctx, instanceId) {
  return [ctx.parent ?? null, yield ctx.callSubOrchestrator("child", 4, { instanceId })];
});

scenario("sub_orchestration", async (t) => {
  const parent = await t.start("parent", undefined);
  const [, answer] = output(await t.wait(parent, Status.COMPLETED));
  assert.equal(answer.result, 5);
  assert.equal((await t.client.getOrchestrationState(answer.me)).name, "child");
  const own = t.id("own");
  assert.equal((await t.complete("parent", own))[1].me, own);
});

scenario("sub_orchestration_knows_its_parent", async (t) => {
  const parent = await t.start("parent", undefined);
  const [nobody, answer] = output(await t.wait(parent, Status.COMPLETED));
  assert.equal(nobody, null);
  assert.deepEqual(answer.parent, { name: "parent", instanceId: parent, taskScheduledId: 1 });
});

orchestrator("tree", async function* (ctx, depth) {
  if (depth === 0) return yield ctx.callActivity("plus_one", 0);
  const branches = yield whenAll([1, 2, 3].map(() => ctx.callSubOrchestrator("tree", depth - 1)));
  return branches.reduce((sum, one) => sum + one, 0);
});

scenario("sub_orchestrations_nested", async (t) => assert.equal(await t.complete("tree", 3), 27));

orchestrator("timers", async function* (ctx) {
  const start = ctx.currentUtcDateTime.getTime();
  yield ctx.createTimer(new Date(start - 3_600_000));
  yield ctx.createTimer(1);
  const late = ctx.createTimer(0.8);
  const early = ctx.createTimer(0.2);
  const first = yield whenAny([late, early]);
  yield late;
  return [first === early, (ctx.currentUtcDateTime.getTime() - start) / 1000];
});

scenario("timers", async (t) => {
  const [inOrder, took] = await t.complete("timers");
  assert(inOrder && took >= 1.8 && took < 8, `${inOrder} ${took}`);
});

orchestrator("status", async function* (ctx) {
  ctx.setCustomStatus({ step: 1 });
  yield ctx.waitForExternalEvent("go");
  ctx.setCustomStatus("at the end ✓");
});

scenario("custom_status", async (t) => {
  const instance = await t.start("status");
  const now = async () => (await t.client.getOrchestrationState(instance)).serializedCustomStatus;
  await t.until(async () => (await now()) === '{"step":1}', "the first custom status");
  await t.client.raiseOrchestrationEvent(instance, "go");
  assert.equal((await t.wait(instance, Status.COMPLETED)).serializedCustomStatus, '"at the end ✓"');
});

orchestrator("echo_all", async function* (ctx, value) {
  return [value, yield ctx.callActivity("echo", value), yield ctx.waitForExternalEvent("value")];
});

const EXACT = [
  0, -1.5, 1e300, false, "", [], {}, "žluťoučký kůň 🐎 \u0000\u2028\"\\",
  { z: 1, a: [null, true, { "": " " }] }, "1", [[[[]]]], "x".repeat(5000), null,
]; // prettier-ignore

scenario("payloads_to_the_letter", async (t) => {
  const started = await Promise.all(EXACT.map(async (value) => [value, await t.start("echo_all", value)]));
  for (const [value, instance] of started) {
    await t.client.raiseOrchestrationEvent(instance, "value", value);
    const state = await t.wait(instance, Status.COMPLETED);
    assert.equal(state.serializedInput, JSON.stringify(value));
    assert.equal(state.serializedOutput, JSON.stringify([value, value, value]));
  }
});

scenario("payloads_of_a_megabyte", async (t) => {
  const text = "0123456789abcdef".repeat(65_536);
  assert.equal((await t.wait(await megabyte(t, text), Status.COMPLETED)).serializedOutput.length, 3 * text.length + 10);
});

async function megabyte(t, text) {
  const instance = await t.start("echo_all", text);
  await t.client.raiseOrchestrationEvent(instance, "value", text);
  return instance;
}

orchestrator("deterministic", async function* (ctx) {
  const facts = seen.get(ctx.instanceId) ?? new Set();
  seen.set(ctx.instanceId, facts.add([ctx.newGuid(), ctx.newGuid(), ctx.currentUtcDateTime.toISOString()].join()));
  for (let i = 0; i < 4; i++) yield ctx.callActivity("plus_one", i);
  return ctx.newGuid();
});

scenario("the_same_at_every_replay", async (t) => {
  const instance = await t.start("deterministic");
  await t.wait(instance, Status.COMPLETED);
  assert.equal(seen.get(instance).size, 1, `replays saw different ids or times: ${[...seen.get(instance)]}`);
});

orchestrator("tagged", async function* (ctx, instanceId) {
  yield ctx.callActivity("plus_one", 1, { tags: { step: "one" } });
  yield ctx.callSubOrchestrator("nothing", undefined, { instanceId, tags: { child: "yes" } });
});

scenario("tags", async (t) => {
  const tags = { team: "red", "zażółć": "gęślą" };
  const child = t.id("child");
  const instance = await t.start("tagged", child, { tags });
  assert.deepEqual((await t.wait(instance, Status.COMPLETED)).tags, tags);
  assert.deepEqual((await t.client.getOrchestrationState(instance)).tags, tags);
  assert.deepEqual((await t.client.getOrchestrationState(child)).tags, { child: "yes" });
  const history = await t.client.getOrchestrationHistory(instance);
  assert.deepEqual(history.find((event) => event.type === "ExecutionStarted").tags, tags);
  assert.deepEqual(history.find((event) => event.type === "TaskScheduled").tags, { step: "one" });
});

orchestrator("when", async (ctx) => ctx.currentUtcDateTime.getTime());

scenario("scheduled_start", async (t) => {
  const at = new Date(Date.now() + 2000);
  const later = await t.start("when", undefined, { startAt: at });
  await t.wait(await t.start("when", undefined, { startAt: new Date(Date.now() - 1e7) }), Status.COMPLETED, 10);
  assert.equal(await t.status(later), Status.PENDING);
  const began = output(await t.wait(later, Status.COMPLETED));
  assert(began >= at.getTime() && began < at.getTime() + 10_000, `${began - at.getTime()} ms late`);
});

orchestrator("detached", async (ctx) => {
  ctx.callActivity("count", "detached");
  return "gone";
});

scenario("what_is_started_at_the_end_still_runs", async (t) => {
  const instance = await t.start("detached");
  assert.equal(output(await t.wait(instance, Status.COMPLETED)), "gone");
  await t.until(() => calls.of(`${instance} detached`) === 1, "the activity that nobody awaits");
});

orchestrator("fails", async function* (ctx, reason) {
  yield ctx.callActivity("fail", reason);
});
orchestrator("fails_itself", async (_, reason) => {
  throw new SyntaxError(reason);
});
orchestrator("catches", async function* (ctx, reason) {
  try {
    yield ctx.callActivity("fail", reason);
  } catch (error) {
    return [error.name, error.message, yield ctx.callActivity("echo", "made good")];
  }
});
orchestrator("child_fails", async function* (ctx, reason) {
  yield ctx.callSubOrchestrator("fails_itself", reason);
});

scenario("failures", async (t) => {
  const instance = await t.start("fails", "boom ✗");
  const failure = (await t.wait(instance, Status.FAILED)).failureDetails;
  assert.match(failure.message, /Activity task #1 failed: boom ✗/);
  const failed = (await t.client.getOrchestrationHistory(instance)).find((event) => event.type === "TaskFailed");
  assert.equal(failed.failureDetails.errorType, "RangeError", JSON.stringify(failed.failureDetails));
  assert.match(failed.failureDetails.stackTrace, /RangeError: boom/);
  const own = (await t.wait(await t.start("fails_itself", "on its own"), Status.FAILED)).failureDetails;
  assert.deepEqual([own.errorType, own.message], ["SyntaxError", "on its own"]);
  const caught = await t.complete("catches", "caught");
  assert.match(caught[1], /caught/);
  assert.equal(caught[2], "made good");
  const child = (await t.wait(await t.start("child_fails", "in the child"), Status.FAILED)).failureDetails;
  assert.match(child.message, /Sub-orchestration task #1 failed: in the child/);
});
