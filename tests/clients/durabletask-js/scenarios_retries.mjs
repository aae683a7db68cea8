// Retries: by policy, by a handler, only of some failures, and never of what cannot be retried.

import assert from "node:assert/strict";
import sdk from "@microsoft/durabletask-js";
import { Calls, Status, activity, orchestrator, output, scenario } from "./harness.mjs";

const { RetryPolicy, VersionFailureStrategy, VersionMatchStrategy, whenAll } = sdk;
const calls = new Calls();

const policy = (maxNumberOfAttempts, options = {}) =>
  new RetryPolicy({ maxNumberOfAttempts, firstRetryIntervalInMilliseconds: 200, ...options });

activity("flaky", (context, { key, succeedAt }) => {
  const attempt = calls.add(`${context.orchestrationId} ${key}`);
  if (attempt < succeedAt) throw new Error(`attempt ${attempt}`);
  return attempt;
});

orchestrator("retry_activity", async function* (ctx, succeedAt) {
  return yield ctx.callActivity("flaky", { key: "a", succeedAt }, { retry: policy(3, { backoffCoefficient: 2 }) });
});

scenario("retry_of_an_activity", async (t) => {
  const success = await t.start("retry_activity", 3);
  assert.equal(output(await t.wait(success, Status.COMPLETED)), 3);
  const kinds = (await t.client.getOrchestrationHistory(success)).map((event) => event.type);
  const count = (kind) => kinds.filter((one) => one === kind).length;
  assert.deepEqual([count("TaskScheduled"), count("TaskFailed"), count("TimerFired")], [3, 2, 2]);
  const failure = await t.start("retry_activity", 99);
  assert.match((await t.wait(failure, Status.FAILED)).failureDetails.message, /attempt 3/);
  assert.equal(calls.of(`${failure} a`), 3);
});

orchestrator("retry_side_by_side", async function* (ctx) {
  const plans = [1, 2, 3, 4].map((succeedAt) => ({ key: succeedAt, succeedAt }));
  return yield whenAll(plans.map((plan) => ctx.callActivity("flaky", plan, { retry: policy(5) })));
});

scenario("retries_side_by_side", async (t) => {
  assert.deepEqual(await t.complete("retry_side_by_side"), [1, 2, 3, 4]);
});

orchestrator("retry_handled", async function* (ctx, wanted) {
  // Now at once, now after 50 ms.
  const retry = async ({ lastAttemptNumber: number }) => number < wanted && (number % 2 ? 50 : true);
  yield ctx.callActivity("flaky", { key: "h", succeedAt: 99 }, { retry });
});
orchestrator("retry_some", async function* (ctx) {
  const handleFailure = (failure) => failure.message !== "attempt 2";
  yield ctx.callActivity("flaky", { key: "s", succeedAt: 99 }, { retry: policy(9, { handleFailure }) });
});

scenario("retries_that_are_decided", async (t) => {
  const handled = await t.start("retry_handled", 4);
  await t.wait(handled, Status.FAILED);
  assert.equal(calls.of(`${handled} h`), 4);
  const some = await t.start("retry_some");
  await t.wait(some, Status.FAILED);
  assert.equal(calls.of(`${some} s`), 2);
});

orchestrator("retry_child", async function* (ctx, { key, succeedAt }) {
  return yield ctx.callActivity("attempt_of", { key, succeedAt });
});
activity("attempt_of", (_, { key, succeedAt }) => {
  const attempt = calls.add(key);
  if (attempt < succeedAt) throw new Error(`child's attempt ${attempt}`);
  return attempt;
});
orchestrator("retry_parent", async function* (ctx, plan) {
  return yield ctx.callSubOrchestrator("retry_child", plan, { retry: policy(3), instanceId: plan.instanceId });
});

scenario("retry_of_a_sub_orchestration", async (t) => {
  assert.equal(await t.complete("retry_parent", { key: t.id("a"), succeedAt: 3 }), 3);
  // Each attempt has the same id: it takes the place of the one that failed.
  const instanceId = t.id("child");
  assert.equal(await t.complete("retry_parent", { key: t.id("b"), succeedAt: 2, instanceId }), 2);
  assert.equal(await t.status(instanceId), Status.COMPLETED);
  await t.wait(await t.start("retry_parent", { key: t.id("c"), succeedAt: 99 }), Status.FAILED);
  assert.equal(calls.of(t.id("c")), 3);
});

orchestrator("retry_of_other", async function* (ctx, name) {
  yield ctx.callSubOrchestrator(name, undefined, { retry: policy(5), version: "2.0" });
});

scenario("no_retry_of_what_cannot_be_retried", async (t) => {
  const name = t.id("strict");
  await t.worker({
    orchestrators: { [name]: async () => "never" },
    versioning: {
      version: "1.0",
      matchStrategy: VersionMatchStrategy.Strict,
      failureStrategy: VersionFailureStrategy.Fail,
    },
    filters: { orchestrations: [{ name }] },
  });
  const instance = await t.start("retry_of_other", name);
  const failure = (await t.wait(instance, Status.FAILED)).failureDetails;
  assert.match(failure.message, /does not match the worker version/);
  const kinds = (await t.client.getOrchestrationHistory(instance)).map((event) => event.type);
  assert.equal(kinds.filter((kind) => kind === "SubOrchestrationInstanceCreated").length, 1, `${kinds}`);
});
