"""Purging: one instance, with its children, by filter, and what may not be purged."""

import time
from datetime import datetime, timedelta, timezone

from durabletask.client import OrchestrationStatus

from harness import PATIENCE, orchestrator, scenario


@orchestrator
def purges_parent(ctx, depth: int):
    if depth:
        return (yield ctx.call_sub_orchestrator(purges_parent, input=depth - 1, instance_id=f"{ctx.instance_id}.c"))
    return "leaf"


@orchestrator
def purges_waits(ctx, _):
    yield ctx.wait_for_external_event("go")


@scenario
def purge_one(t):
    instance = t.start(purges_parent, 0)
    t.wait(instance, "COMPLETED")
    result = t.client.purge_orchestration(instance)
    assert result.deleted_instance_count == 1, result
    assert t.status(instance) is None
    again = t.client.purge_orchestration(instance)
    assert again.deleted_instance_count == 0, again
    assert t.client.purge_orchestration(t.id("nobody")).deleted_instance_count == 0
    # The id is free again.
    assert t.complete(purges_parent, 0, instance_id=instance) == "leaf"


@scenario
def purge_leaves_what_runs(t):
    instance = t.start(purges_waits)
    t.running(instance)
    assert t.client.purge_orchestration(instance).deleted_instance_count == 0
    assert t.status(instance) == "RUNNING"
    t.client.terminate_orchestration(instance)
    t.wait(instance, "TERMINATED")
    assert t.client.purge_orchestration(instance).deleted_instance_count == 1


@scenario
def purge_with_children(t):
    whole, root_only = t.start(purges_parent, 2), t.start(purges_parent, 2)
    for instance in (whole, root_only):
        t.wait(instance, "COMPLETED")
    result = t.client.purge_orchestration(whole, recursive=True)
    assert result.deleted_instance_count == 3, result
    assert [t.status(whole + suffix) for suffix in ("", ".c", ".c.c")] == [None] * 3
    assert t.client.purge_orchestration(root_only, recursive=False).deleted_instance_count == 1
    assert [t.status(root_only + suffix) for suffix in ("", ".c", ".c.c")] == [None, "COMPLETED", "COMPLETED"]


@orchestrator
def purges_fails(_ctx, _):
    raise ValueError("to be purged")


@scenario(alone=True)
def purge_by_filter(t):
    before = datetime.now(timezone.utc)
    time.sleep(0.02)
    completed, failed = t.start(purges_parent, 0), t.start(purges_fails)
    running, late = t.start(purges_waits), t.id("late")
    t.wait(completed, "COMPLETED")
    t.wait(failed, "FAILED")
    t.running(running)
    time.sleep(0.02)
    middle = datetime.now(timezone.utc)
    time.sleep(0.02)
    t.complete(purges_parent, 0, instance_id=late)
    result = t.client.purge_orchestrations_by(before, middle, [OrchestrationStatus.FAILED])
    assert result.deleted_instance_count == 1, result
    assert [t.status(one) for one in (completed, failed, running, late)] == ["COMPLETED", None, "RUNNING", "COMPLETED"]
    result = t.client.purge_orchestrations_by(before, middle, timeout=timedelta(seconds=PATIENCE))
    assert result.deleted_instance_count == 1 and result.is_complete, result
    assert [t.status(one) for one in (completed, running, late)] == [None, "RUNNING", "COMPLETED"]
    assert t.client.purge_orchestrations_by(before, middle).deleted_instance_count == 0
    assert t.client.purge_orchestrations_by(created_time_from=middle).deleted_instance_count == 1
    t.client.terminate_orchestration(running)
    t.wait(running, "TERMINATED")


@scenario(alone=True)
def purge_many_by_filter(t):
    before = datetime.now(timezone.utc)
    time.sleep(0.02)
    instances = [t.start(purges_parent, 1) for _ in range(30)]
    for instance in instances:
        t.wait(instance, "COMPLETED")
    result = t.client.purge_orchestrations_by(created_time_from=before, recursive=True)
    assert result.deleted_instance_count == 60, result
    assert {t.status(instance) for instance in instances} == {None}
