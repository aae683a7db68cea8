"""Rewinding failed instances: what failed runs again, what succeeded does not; children too, also purged ones."""

import grpc
from durabletask import task

from harness import Calls, activity, orchestrator, refused, scenario

calls = Calls()
broken: set[str] = set()


@activity
def rewinds_work(context, plan: list):
    key, step = plan
    calls.add((key, step))
    if f"{key}/{step}" in broken:
        raise RuntimeError(f"{step} is broken")
    return f"{step} done"


@orchestrator
def rewinds_two_steps(ctx, key: str):
    first = yield ctx.call_activity(rewinds_work, input=[key, "first"])
    second = yield ctx.call_activity(rewinds_work, input=[key, "second"])
    return [first, second]


@scenario
def rewind_a_failed_activity(t):
    key = t.id()
    broken.add(f"{key}/second")
    instance = t.start(rewinds_two_steps, key)
    t.wait(instance, "FAILED")
    # It fails once more, and is rewound once more.
    t.client.rewind_orchestration(instance, reason="too early")
    state = t.wait(instance, "FAILED")
    assert state.failure_details.message.endswith("second is broken")
    assert calls.of((key, "second")) == 2
    broken.discard(f"{key}/second")
    t.client.rewind_orchestration(instance, reason="mended ✓")
    state = t.wait(instance, "COMPLETED")
    assert state.get_output() == ["first done", "second done"] and state.failure_details is None, state
    assert (calls.of((key, "first")), calls.of((key, "second"))) == (1, 3)
    history = t.client.get_orchestration_history(instance)
    kinds = [type(event).__name__ for event in history]
    assert kinds.count("ExecutionRewoundEvent") == 2 and kinds.count("ExecutionCompletedEvent") == 1, kinds
    assert "TaskFailedEvent" not in kinds, kinds
    reasons = [event.reason for event in history if type(event).__name__ == "ExecutionRewoundEvent"]
    assert reasons == ["too early", "mended ✓"], reasons


@orchestrator
def rewinds_fan_out(ctx, key: str):
    return (yield task.when_all([ctx.call_activity(rewinds_work, input=[key, str(n)]) for n in range(5)]))


@scenario
def rewind_two_of_five(t):
    key = t.id()
    broken.update({f"{key}/1", f"{key}/3"})
    instance = t.start(rewinds_fan_out, key)
    t.wait(instance, "FAILED")
    broken.difference_update({f"{key}/1", f"{key}/3"})
    t.client.rewind_orchestration(instance)
    assert t.wait(instance, "COMPLETED").get_output() == [f"{n} done" for n in range(5)]
    assert [calls.of((key, str(n))) for n in range(5)] == [1, 2, 1, 2, 1], "what had succeeded ran again"


@orchestrator
def rewinds_parent(ctx, key: str):
    own = yield ctx.call_activity(rewinds_work, input=[key, "own"])
    children = [
        ctx.call_sub_orchestrator(rewinds_middle, input=[key, name], instance_id=f"{ctx.instance_id}.{name}")
        for name in ("good", "bad")
    ]
    return [own, (yield task.when_all(children))]


@orchestrator
def rewinds_middle(ctx, plan: list):
    return (yield ctx.call_sub_orchestrator(rewinds_leaf, input=plan, instance_id=f"{ctx.instance_id}.leaf"))


@orchestrator
def rewinds_leaf(ctx, plan: list):
    key, name = plan
    before = yield ctx.call_activity(rewinds_work, input=[key, f"{name} before"])
    after = yield ctx.call_activity(rewinds_work, input=[key, name])
    return [before, after]


def family(t) -> tuple[str, str]:
    """A failed parent, one of whose grandchildren is broken until now."""
    key = t.id()
    broken.add(f"{key}/bad")
    instance = t.start(rewinds_parent, key)
    t.wait(instance, "FAILED")
    t.wait(f"{instance}.good", "COMPLETED")
    broken.discard(f"{key}/bad")
    return key, instance


# What the parent says in the end.
ANSWERS = ["own done", [[f"{name} before done", f"{name} done"] for name in ("good", "bad")]]


@scenario
def rewind_with_children(t):
    key, instance = family(t)
    t.client.rewind_orchestration(instance, reason="mended")
    assert t.wait(instance, "COMPLETED").get_output() == ANSWERS
    counts = [calls.of((key, step)) for step in ("own", "good before", "good", "bad before", "bad")]
    assert counts == [1, 1, 1, 1, 2], counts
    t.wait(f"{instance}.bad.leaf", "COMPLETED")


@scenario
def rewind_with_a_purged_child(t):
    key, instance = family(t)
    t.client.purge_orchestration(f"{instance}.bad", recursive=True)
    t.client.purge_orchestration(f"{instance}.bad.leaf")
    t.client.rewind_orchestration(instance)
    assert t.wait(instance, "COMPLETED").get_output() == ANSWERS
    counts = [calls.of((key, step)) for step in ("own", "good", "bad before", "bad")]
    assert counts == [1, 1, 2, 2], counts


@scenario
def rewind_what_cannot_be_rewound(t):
    instance = t.start(rewinds_two_steps, t.id())
    t.wait(instance, "COMPLETED")
    refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: t.client.rewind_orchestration(instance))
    running = t.start("purges_waits")
    t.running(running)
    refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: t.client.rewind_orchestration(running))
    t.client.terminate_orchestration(running)
    t.wait(running, "TERMINATED")
    refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: t.client.rewind_orchestration(running))
    refused(grpc.StatusCode.NOT_FOUND, lambda: t.client.rewind_orchestration(t.id("nobody")))
