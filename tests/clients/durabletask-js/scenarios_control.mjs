// Events, suspension, termination, and one generation after another.

import assert from "node:assert/strict";
import sdk from "@microsoft/durabletask-js";
import { Calls, Status, activity, orchestrator, output, scenario, sleep } from "./harness.mjs";

const { terminateOptions, whenAll, whenAny } = sdk;
const calls = new Calls();

activity("control_step", async (context, { step, seconds }) => {
  calls.add(`${context.orchestrationId} ${step}`);
  await sleep(seconds);
  return step;
});

orchestrator("collect", async function* (ctx, names) {
  const seen = [];
  for (const name of names) seen.push(yield ctx.waitForExternalEvent(name));
  return seen;
});

const repeat = (name, count) => Array(count).fill(name);

scenario("events_in_order", async (t) => {
  const instance = await t.start("collect", repeat("e", 30));
  for (let i = 0; i < 30; i++) await t.client.raiseOrchestrationEvent(instance, "e", i);
  assert.deepEqual(output(await t.wait(instance, Status.COMPLETED)), [...Array(30).keys()]);
});

scenario("events_of_two_names", async (t) => {
  const instance = await t.start("collect", ["a", "B", "a"]);
  await t.running(instance);
  for (const [name, data] of [["b", 1], ["A", { x: [2] }], ["a", null]]) {
    await t.client.raiseOrchestrationEvent(instance, name, data);
  }
  assert.deepEqual(output(await t.wait(instance, Status.COMPLETED)), [{ x: [2] }, 1, null]);
});

scenario("events_before_the_start", async (t) => {
  const name = t.id();
  const instance = await t.start(name, ["e", "e"]);
  for (const data of [1, 2]) await t.client.raiseOrchestrationEvent(instance, "e", data);
  assert.equal(await t.status(instance), Status.PENDING);
  const two = async function* (ctx) {
    return [yield ctx.waitForExternalEvent("e"), yield ctx.waitForExternalEvent("e")];
  };
  await t.worker({ orchestrators: { [name]: two } });
  assert.deepEqual(output(await t.wait(instance, Status.COMPLETED)), [1, 2]);
});

orchestrator("event_or_timer", async function* (ctx, seconds) {
  const [approval, timeout] = [ctx.waitForExternalEvent("approval"), ctx.createTimer(seconds)];
  const winner = yield whenAny([approval, timeout]);
  if (winner === timeout) return "timed out";
  timeout.cancel();
  return approval.getResult();
});

scenario("event_with_a_timeout", async (t) => {
  const [late, inTime] = [await t.start("event_or_timer", 0.5), await t.start("event_or_timer", 60)];
  await t.running(inTime);
  await t.client.raiseOrchestrationEvent(inTime, "approval", "approved");
  assert.equal(output(await t.wait(inTime, Status.COMPLETED, 10)), "approved");
  assert.equal(output(await t.wait(late, Status.COMPLETED)), "timed out");
});

orchestrator("sender", async function* (ctx, target) {
  for (let i = 0; i < 3; i++) ctx.sendEvent(target, "e", i);
  ctx.sendEvent(`${target}-nobody`, "e", "lost");
  yield ctx.createTimer(0.1);
  ctx.sendEvent(target, "e", "at the end");
});

scenario("event_from_an_orchestration", async (t) => {
  const target = await t.start("collect", repeat("e", 4));
  await t.complete("sender", target);
  assert.deepEqual(output(await t.wait(target, Status.COMPLETED)), [0, 1, 2, "at the end"]);
});

orchestrator("steps", async function* (ctx, count) {
  const done = [];
  for (let step = 0; step < count; step++) done.push(yield ctx.callActivity("control_step", { step, seconds: 0.5 }));
  return done;
});

async function doesNotEnd(t, instance, seconds = 1) {
  const none = await t.client.waitForOrchestrationCompletion(instance, true, seconds).catch((error) => error.name);
  assert.equal(none, "TimeoutError");
}

scenario("suspend_and_resume", async (t) => {
  const [waits, works] = [await t.start("collect", ["e", "e"]), await t.start("steps", 3)];
  await t.running(waits);
  await t.until(() => calls.of(`${works} 0`), "the first step begins");
  for (const instance of [waits, works]) {
    await t.client.suspendOrchestration(instance);
    await t.reaches(instance, Status.SUSPENDED);
  }
  await t.client.raiseOrchestrationEvent(waits, "e", "meanwhile");
  await t.client.raiseOrchestrationEvent(waits, "e", "and again");
  await doesNotEnd(t, waits);
  await doesNotEnd(t, works);
  for (const instance of [waits, works]) await t.client.resumeOrchestration(instance);
  assert.deepEqual(output(await t.wait(waits, Status.COMPLETED)), ["meanwhile", "and again"]);
  assert.deepEqual(output(await t.wait(works, Status.COMPLETED)), [0, 1, 2]);
  assert.deepEqual([0, 1, 2].map((step) => calls.of(`${works} ${step}`)), [1, 1, 1]);
});

scenario("terminate", async (t) => {
  const [plain, withOutput] = [await t.start("collect", ["e"]), await t.start("collect", ["e"])];
  const working = await t.start("steps", 9);
  await t.running(plain);
  await t.running(withOutput);
  await t.until(() => calls.of(`${working} 1`), "the second step begins");
  await t.client.terminateOrchestration(plain);
  await t.client.terminateOrchestration(withOutput, { why: ["enough", 1] });
  await t.client.terminateOrchestration(working);
  await t.wait(plain, Status.TERMINATED);
  assert.equal((await t.wait(withOutput, Status.TERMINATED)).serializedOutput, '{"why":["enough",1]}');
  await t.wait(working, Status.TERMINATED);
  await sleep(1.2);
  assert.equal(calls.of(`${working} 3`), 0, "it went on after its end");
});

orchestrator("family", async function* (ctx, depth) {
  if (depth === 0) return yield ctx.waitForExternalEvent("go");
  const ids = [0, 1].map((i) => `${ctx.instanceId}.${i}`);
  return yield whenAll(ids.map((instanceId) => ctx.callSubOrchestrator("family", depth - 1, { instanceId })));
});

scenario("terminate_recursively", async (t) => {
  const [all, one] = [await t.start("family", 2), await t.start("family", 1)];
  const members = [all, ...["0", "1", "0.0", "0.1", "1.0", "1.1"].map((path) => `${all}.${path}`)];
  const children = [`${one}.0`, `${one}.1`];
  for (const member of [...members, ...children]) await t.reaches(member, Status.RUNNING);
  await t.client.terminateOrchestration(all, terminateOptions({ output: "all of you", recursive: true }));
  await t.client.terminateOrchestration(one, terminateOptions({ recursive: false }));
  for (const member of members) await t.wait(member, Status.TERMINATED);
  await t.wait(one, Status.TERMINATED);
  await sleep(0.5);
  for (const child of children) {
    assert.equal(await t.status(child), Status.RUNNING);
    await t.client.raiseOrchestrationEvent(child, "go", "on my own");
    await t.wait(child, Status.COMPLETED);
  }
});

orchestrator("count_down", async function* (ctx, number) {
  yield ctx.callActivity("control_step", { step: number, seconds: 0 });
  if (number > 0) return void ctx.continueAsNew(number - 1, false);
  return "landed";
});
orchestrator("gather", async function* (ctx, { count, seen }) {
  seen.push(yield ctx.waitForExternalEvent("item"));
  if (seen.length < count) return void ctx.continueAsNew({ count, seen }, true);
  return seen;
});
orchestrator("own_id", async (ctx) => ctx.instanceId);
orchestrator("child_each_time", async function* (ctx, ids) {
  ids.push(yield ctx.callSubOrchestrator("own_id"));
  if (ids.length < 4) return void ctx.continueAsNew(ids, false);
  return ids;
});

scenario("continue_as_new", async (t) => {
  const instance = await t.start("count_down", 25);
  const state = await t.wait(instance, Status.COMPLETED);
  assert.equal(output(state), "landed");
  assert.equal(state.serializedInput, "0");
  for (let step = 0; step <= 25; step++) assert.equal(calls.of(`${instance} ${step}`), 1);
});

scenario("continue_as_new_keeps_events", async (t) => {
  const instance = await t.start("gather", { count: 15, seen: [] });
  for (let i = 0; i < 15; i++) await t.client.raiseOrchestrationEvent(instance, "item", i);
  assert.deepEqual(output(await t.wait(instance, Status.COMPLETED)), [...Array(15).keys()]);
});

scenario("sub_orchestrations_over_generations", async (t) => {
  const ids = await t.complete("child_each_time", []);
  // The SDK makes them of the id of the execution, which is another one in each generation.
  assert.equal(new Set(ids).size, 4, `${ids}`);
});

orchestrator("old_timer", async function* (ctx, generation) {
  const began = ctx.currentUtcDateTime.getTime();
  if (generation === 0) {
    ctx.createTimer(0.4);
    yield ctx.createTimer(0.05);
    return void ctx.continueAsNew(1, false);
  }
  yield ctx.createTimer(1.5);
  return (ctx.currentUtcDateTime.getTime() - began) / 1000;
});

scenario("timer_of_an_old_generation", async (t) => {
  const took = await t.complete("old_timer", 0);
  assert(took >= 1.5, `a timer of 1.5 s fired after ${took} s`);
});
