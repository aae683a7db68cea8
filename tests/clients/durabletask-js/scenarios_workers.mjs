// Versions, work-item filters, workers that come and go, many instances at once.

import assert from "node:assert/strict";
import sdk from "@microsoft/durabletask-js";
import { Calls, Status, activity, orchestrator, output, scenario, sleep } from "./harness.mjs";

const { VersionFailureStrategy: Failing, VersionMatchStrategy: Match } = sdk;
const calls = new Calls();

// A worker that is given every version of `name` and judges it itself.
const serve = (t, name, versioning) =>
  t.worker({
    orchestrators: { [name]: async (ctx) => ctx.version },
    versioning,
    filters: { orchestrations: [{ name }] },
  });

scenario("version_strict", async (t) => {
  const name = t.id();
  await serve(t, name, { version: "1.1.0", matchStrategy: Match.Strict, failureStrategy: Failing.Fail });
  assert.equal(await t.complete(name, null, { version: "1.1.0" }), "1.1.0");
  const failure = (await t.wait(await t.start(name, null, { version: "1.0.0" }), Status.FAILED)).failureDetails;
  assert.equal(failure.errorType, "VersionMismatch");
  assert.match(failure.message, /'1\.0\.0' does not match the worker version '1\.1\.0'/);
});

scenario("version_current_or_older", async (t) => {
  const name = t.id();
  await serve(t, name, { version: "1.10.0", matchStrategy: Match.CurrentOrOlder, failureStrategy: Failing.Fail });
  for (const version of ["1.10.0", "1.9", "1.0"]) assert.equal(await t.complete(name, null, { version }), version);
  assert.equal(await t.complete(name), "");
  const failure = (await t.wait(await t.start(name, null, { version: "1.11" }), Status.FAILED)).failureDetails;
  assert.match(failure.message, /'1\.11' is greater than the worker version '1\.10\.0'/);
});

scenario("version_rejected_waits_for_another_worker", async (t) => {
  const name = t.id();
  await serve(t, name, { version: "1.0", matchStrategy: Match.Strict, failureStrategy: Failing.Reject });
  const instance = await t.start(name, null, { version: "2.0" });
  assert.equal(await t.complete(name, null, { version: "1.0" }), "1.0");
  await sleep(1);
  assert.equal(await t.status(instance), Status.PENDING);
  await serve(t, name, { version: "2.0", matchStrategy: Match.Strict, failureStrategy: Failing.Reject });
  assert.equal(output(await t.wait(instance, Status.COMPLETED)), "2.0");
});

scenario("version_default_of_the_client", async (t) => {
  const name = t.id();
  await serve(t, name, { version: "7.0", matchStrategy: Match.Strict, failureStrategy: Failing.Fail });
  const client = t.server.client({ defaultVersion: "7.0" });
  const instance = await client.scheduleNewOrchestration(name, null, { instanceId: t.id("default") });
  assert.equal(output(await t.wait(instance, Status.COMPLETED)), "7.0");
  await client.stop();
});

async function* callAll(ctx, names) {
  const answers = [];
  for (const name of names) answers.push(yield ctx.callActivity(name, ctx.instanceId));
  return answers;
}

const answering = (answer) => (_, input) => {
  calls.add(`${answer} ${input}`);
  return answer;
};

scenario("filters_of_two_workers", async (t) => {
  const [flow, first, second] = [t.id("flow"), t.id("first"), t.id("second")];
  await t.worker({ orchestrators: { [flow]: callAll }, activities: { [first]: answering("one") } });
  await t.worker({ activities: { [second]: answering("two") } });
  const started = await Promise.all(Array.from({ length: 10 }, () => t.start(flow, [first, second, first])));
  for (const one of started) assert.deepEqual(output(await t.wait(one, Status.COMPLETED)), ["one", "two", "one"]);
});

scenario("what_waits_for_its_worker", async (t) => {
  const [flow, later] = [t.id("flow"), t.id("later")];
  const pending = await t.start(flow, []);
  const running = await t.start(flow, [later]);
  await sleep(0.5);
  assert.equal(await t.status(pending), Status.PENDING);
  await t.worker({ orchestrators: { [flow]: callAll } });
  await t.wait(pending, Status.COMPLETED);
  await t.running(running);
  await sleep(0.5);
  assert.equal(await t.status(running), Status.RUNNING);
  await t.worker({ activities: { [later]: answering("at last") } });
  assert.deepEqual(output(await t.wait(running, Status.COMPLETED)), ["at last"]);
  assert.equal(calls.of(`at last ${running}`), 1);
});

scenario("activities_by_version", async (t) => {
  const [flow, name] = [t.id("flow"), t.id("activity")];
  await t.worker({
    orchestrators: {
      [flow]: async function* (ctx) {
        const answers = [];
        for (const version of ["1", "2", "1"]) answers.push(yield ctx.callActivity(name, version, { version }));
        return answers;
      },
    },
  });
  for (const version of ["1", "2"]) {
    const filters = { activities: [{ name, versions: [version] }] };
    await t.worker({ activities: { [name]: answering(`worker ${version}`) }, filters });
  }
  assert.deepEqual(await t.complete(flow), ["worker 1", "worker 2", "worker 1"]);
});

scenario("worker_that_is_stopped", async (t) => {
  const [flow, name] = [t.id("flow"), t.id("slow")];
  await t.worker({ orchestrators: { [flow]: callAll } });
  const slow = async (_, input) => (calls.add(`slow ${input}`), await sleep(1), "finished");
  const leaving = await t.worker({ activities: { [name]: slow } });
  t.opened.pop();
  const instance = await t.start(flow, [name]);
  await t.until(() => calls.of(`slow ${instance}`), "the activity runs");
  // It takes nothing new, ends what it has, and reports that after its stream is gone.
  await leaving.stop();
  assert.deepEqual(output(await t.wait(instance, Status.COMPLETED)), ["finished"]);
  assert.equal(calls.of(`slow ${instance}`), 1);
});

activity("crowd_step", (context, number) => {
  calls.add(context.orchestrationId);
  return number + 1;
});
orchestrator("crowd", async function* (ctx, number) {
  return yield ctx.callActivity("crowd_step", number);
});

scenario("five_hundred_at_once", async (t) => {
  const ids = await Promise.all(Array.from({ length: 500 }, (_, i) => t.start("crowd", i)));
  const outputs = await Promise.all(ids.map(async (one) => output(await t.wait(one, Status.COMPLETED))));
  assert.deepEqual(outputs, Array.from({ length: 500 }, (_, i) => i + 1));
  assert(ids.every((one) => calls.of(one) === 1), "an activity ran twice");
}, { alone: true }); // prettier-ignore
