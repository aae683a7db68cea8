"""Restarting what has ended, and starting under an id that is in use: refused, or replaced by policy."""

import time

import grpc
from durabletask.internal.orchestrator_service_pb2 import (
    ORCHESTRATION_STATUS_COMPLETED,
    ORCHESTRATION_STATUS_FAILED,
    ORCHESTRATION_STATUS_PENDING,
    ORCHESTRATION_STATUS_RUNNING,
    ORCHESTRATION_STATUS_SUSPENDED,
    ORCHESTRATION_STATUS_TERMINATED,
    OrchestrationIdReusePolicy,
)

from harness import Calls, activity, orchestrator, refused, scenario

calls = Calls()


@activity
def restarts_count(context, value):
    return [value, calls.add(context.orchestration_id)]


@orchestrator
def restarts_flow(ctx, value):
    return (yield ctx.call_activity(restarts_count, input=value))


@orchestrator
def restarts_fails_first(ctx, _):
    _, count = yield ctx.call_activity(restarts_count)
    if count == 1:
        raise ValueError("the first time")
    return "the second time"


@orchestrator
def restarts_waits(ctx, value):
    answer = yield ctx.wait_for_external_event("go")
    return [value, answer, ctx.version]


@scenario
def restart_under_the_same_id(t):
    instance = t.start(restarts_flow, {"a": 1})
    assert t.wait(instance, "COMPLETED").get_output() == [{"a": 1}, 1]
    assert t.client.restart_orchestration(instance) == instance
    t.until(lambda: calls.of(instance) == 2, "it runs again")
    assert t.wait(instance, "COMPLETED").get_output() == [{"a": 1}, 2]


@scenario
def restart_under_a_new_id(t):
    instance = t.start(restarts_flow, "in")
    t.wait(instance, "COMPLETED")
    other = t.client.restart_orchestration(instance, restart_with_new_instance_id=True)
    assert other != instance
    assert t.wait(other, "COMPLETED").get_output() == ["in", 1]
    assert t.wait(instance, "COMPLETED").get_output() == ["in", 1]


@scenario
def restart_what_failed_or_was_terminated(t):
    failed = t.start(restarts_fails_first)
    t.wait(failed, "FAILED")
    t.client.restart_orchestration(failed)
    t.until(lambda: t.status(failed) == "COMPLETED", "it completes")
    assert t.wait(failed, "COMPLETED").failure_details is None
    terminated = t.start(restarts_waits, "kept", version="1.5")
    t.running(terminated)
    t.client.terminate_orchestration(terminated)
    t.wait(terminated, "TERMINATED")
    t.client.restart_orchestration(terminated)
    t.client.raise_orchestration_event(terminated, "go", data="again")
    assert t.wait(terminated, "COMPLETED").get_output() == ["kept", "again", "1.5"]


@scenario
def restart_what_cannot_be_restarted(t):
    instance = t.start(restarts_waits)
    t.running(instance)
    refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: t.client.restart_orchestration(instance))
    refused(grpc.StatusCode.NOT_FOUND, lambda: t.client.restart_orchestration(t.id("nobody")))
    t.client.raise_orchestration_event(instance, "go", data="undisturbed")
    assert t.wait(instance, "COMPLETED").get_output()[1] == "undisturbed"


def policy(*statuses: int) -> OrchestrationIdReusePolicy:
    """Instances in these states may be replaced."""
    return OrchestrationIdReusePolicy(replaceableStatus=statuses)


@scenario
def id_that_is_in_use(t):
    instance = t.start(restarts_waits, 1)
    again = {"instance_id": instance}
    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: t.start(restarts_flow, 2, **again))
    t.running(instance)
    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: t.start(restarts_flow, 2, **again))
    ended = policy(ORCHESTRATION_STATUS_COMPLETED, ORCHESTRATION_STATUS_FAILED, ORCHESTRATION_STATUS_TERMINATED)
    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: t.start(restarts_flow, 2, reuse_id_policy=ended, **again))
    t.client.raise_orchestration_event(instance, "go", data="first")
    assert t.wait(instance, "COMPLETED").get_output()[:2] == [1, "first"]
    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: t.start(restarts_flow, 2, **again))
    failed = policy(ORCHESTRATION_STATUS_FAILED)
    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: t.start(restarts_flow, 2, reuse_id_policy=failed, **again))
    assert t.start(restarts_flow, 2, reuse_id_policy=ended, **again) == instance
    t.until(lambda: t.client.get_orchestration_state(instance).name == "restarts_flow", "it was replaced")
    assert t.wait(instance, "COMPLETED").get_output() == [2, 1]


@scenario
def replaced_while_it_runs(t):
    instance = t.start(restarts_waits, "old")
    t.running(instance)
    anything = policy(
        ORCHESTRATION_STATUS_RUNNING,
        ORCHESTRATION_STATUS_PENDING,
        ORCHESTRATION_STATUS_SUSPENDED,
        ORCHESTRATION_STATUS_COMPLETED,
        ORCHESTRATION_STATUS_FAILED,
        ORCHESTRATION_STATUS_TERMINATED,
    )
    t.start(restarts_waits, "new", instance_id=instance, reuse_id_policy=anything)
    t.client.raise_orchestration_event(instance, "go", data="for the new one")
    assert t.wait(instance, "COMPLETED").get_output()[:2] == ["new", "for the new one"]


@activity
def restarts_slow(_, plan: list):
    seconds, answer = plan
    time.sleep(seconds)
    return answer


@orchestrator
def restarts_slowly(ctx, plan: list):
    return (yield ctx.call_activity(restarts_slow, input=plan))


@scenario
def result_for_what_was_replaced(t):
    # The old one's activity ends while the new one waits for an activity of the same number.
    instance = t.start(restarts_slowly, [0.6, "old"])
    t.running(instance)
    t.client.terminate_orchestration(instance)
    t.wait(instance, "TERMINATED")
    terminated = policy(ORCHESTRATION_STATUS_TERMINATED)
    t.start(restarts_slowly, [1.2, "new"], instance_id=instance, reuse_id_policy=terminated)
    assert t.wait(instance, "COMPLETED").get_output() == "new"
