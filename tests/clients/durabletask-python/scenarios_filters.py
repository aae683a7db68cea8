"""Work-item filters: who gets what, and what waits for a worker that is not there yet."""

import time

from durabletask import task
from durabletask.entities import DurableEntity, EntityInstanceId
from durabletask.worker import (
    ActivityWorkItemFilter,
    EntityWorkItemFilter,
    OrchestrationWorkItemFilter,
    VersioningOptions,
    VersionFailureStrategy,
    VersionMatchStrategy,
    WorkItemFilters,
)

from harness import PATIENCE, Calls, named, scenario, stop_workers

calls = Calls()


def _call_by_name(ctx, names: list):
    answers = []
    for name in names:
        answers.append((yield ctx.call_activity(name, input=ctx.instance_id)))
    return answers


def _answering(answer: str):
    def answering(_, value):
        calls.add((answer, value))
        return answer

    return answering


@scenario
def filters_of_two_workers(t):
    flow, first, second = t.id("flow"), t.id("first"), t.id("second")
    t.worker(orchestrators=[named(_call_by_name, flow)], activities=[named(_answering("one"), first)])
    t.worker(activities=[named(_answering("two"), second)])
    started = [t.start(flow, [first, second, first, second]) for _ in range(10)]
    for instance in started:
        assert t.wait(instance, "COMPLETED").get_output() == ["one", "two", "one", "two"]


@scenario
def instance_waits_for_its_worker(t):
    name, other = t.id("flow"), t.id("other")
    t.worker(orchestrators=[named(_call_by_name, other)])
    waiting = t.start(name, [])
    assert t.complete(other, []) == []
    assert t.status(waiting) == "PENDING"
    t.worker(orchestrators=[named(_call_by_name, name)])
    assert t.wait(waiting, "COMPLETED").get_output() == []


@scenario
def activity_waits_for_its_worker(t):
    flow, missing = t.id("flow"), t.id("missing")
    t.worker(orchestrators=[named(_call_by_name, flow)])
    waiting = t.start(flow, [missing])
    t.running(waiting)
    time.sleep(0.5)
    assert t.status(waiting) == "RUNNING"
    t.worker(activities=[named(_answering("at last"), missing)])
    assert t.wait(waiting, "COMPLETED").get_output() == ["at last"]
    assert calls.of(("at last", waiting)) == 1


def _version(ctx, _):
    return ctx.version


@scenario
def filters_with_versions(t):
    name = t.id()
    strict = VersioningOptions(
        version="2.0", match_strategy=VersionMatchStrategy.STRICT, failure_strategy=VersionFailureStrategy.FAIL
    )
    # With strict versions the SDK puts its version into the filters: others are not even offered to it.
    t.worker(orchestrators=[named(_version, name)], versioning=strict)
    older, none = t.start(name, version="1.0"), t.start(name)
    assert t.complete(name, version="2.0") == "2.0"
    assert [t.status(older), t.status(none)] == ["PENDING", "PENDING"]
    listed = WorkItemFilters(orchestrations=[OrchestrationWorkItemFilter(name, ["0.9", "1.0"])])
    t.worker(orchestrators=[named(_version, name)], filters=listed)
    assert t.wait(older, "COMPLETED").get_output() == "1.0"
    assert t.status(none) == "PENDING"
    t.worker(orchestrators=[named(_version, name)])
    assert t.wait(none, "COMPLETED").get_output() is None


class Pinged(DurableEntity):
    """Counts who pings it, in this process."""

    def ping(self, _):
        calls.add(str(self.entity_context.entity_id))


@scenario
def filters_of_entities(t):
    mine, other = t.id("mine"), t.id("other")
    # It has both entities and lets itself be given but one of them.
    worker = t.server.worker()
    for name in (mine, other):
        worker.add_entity(Pinged, name)
    worker.use_work_item_filters(WorkItemFilters(entities=[EntityWorkItemFilter(mine)]))
    worker.start()
    t.opened.append(worker)
    for name in (other, mine):
        t.client.signal_entity(EntityInstanceId(name, "k"), "ping")
    t.until(lambda: calls.of(f"@{mine}@k"), "the entity that is wanted is pinged")
    time.sleep(0.5)
    assert calls.of(f"@{other}@k") == 0


@scenario
def filters_that_are_empty_take_nothing(t):
    name, failing = t.id("flow"), t.id("activity")
    nothing = WorkItemFilters(activities=[ActivityWorkItemFilter(failing)])
    t.worker(orchestrators=[named(_call_by_name, name)], activities=[named(_answering("x"), failing)], filters=nothing)
    waiting = t.start(name, [failing])
    time.sleep(1)
    assert t.status(waiting) == "PENDING"
    t.worker(orchestrators=[named(_call_by_name, name)])
    assert t.wait(waiting, "COMPLETED").get_output() == ["x"]


def _stamp(label: str):
    def stamp(_, _value):
        time.sleep(0.1)
        return label

    return stamp


def _spread(ctx, name: str):
    return (yield task.when_all([ctx.call_activity(name) for _ in range(30)]))


@scenario
def work_is_spread_over_workers(t):
    flow, name = t.id("flow"), t.id("stamp")
    t.worker(orchestrators=[named(_spread, flow)], activities=[named(_stamp("a"), name)])
    t.worker(activities=[named(_stamp("b"), name)])
    # A worker is known to be there once it has done something.
    t.until(lambda: "b" in t.complete(flow, name), "the second worker gets work", timeout=PATIENCE)
    # A worker that is slow to come once leaves its part of that round to the other one.
    labels = [label for _ in range(3) for label in t.complete(flow, name)]
    assert 15 <= labels.count("b") <= 75, f"{labels.count('b')} of {len(labels)} went to one of two equal workers"


@scenario(alone=True)
def worker_without_filters(t):
    flow, name = t.id("flow"), t.id("activity")
    worker = t.worker(
        orchestrators=[named(_call_by_name, flow)], activities=[named(_answering("taken"), name)], filters=False
    )
    assert t.complete(flow, [name]) == ["taken"]
    # It would take what it has not registered from the scenarios that follow.
    assert stop_workers([worker])
