"""Entities of both kinds: signals, calls, state, failures, signals with a time, what entities start themselves."""

import time
from datetime import datetime, timedelta, timezone

from durabletask import task
from durabletask.entities import DurableEntity, EntityInstanceId

from harness import Calls, entity, orchestrator, scenario

calls = Calls()


@entity
class EntitiesCounter(DurableEntity):
    """A number that can be added to, with operations that fail and that involve others."""

    def add(self, amount: int):
        self.set_state(self.get_state(int, 0) + amount)
        return self.get_state(int)

    def get(self):
        return self.get_state(int, 0)

    def add_and_fail(self, amount: int):
        self.set_state(self.get_state(int, 0) + amount)
        self.signal_entity(self.entity_context.entity_id, "add", 1_000_000)
        raise ValueError(f"after adding {amount}")

    def pass_on(self, plan: list):
        name, key, amount = plan
        self.signal_entity(EntityInstanceId(name, key), "add", amount)

    def begin(self, plan: list):
        name, value, instance = plan
        return self.schedule_new_orchestration(name, value, instance_id=instance)

    def later(self, seconds: float):
        at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        self.signal_entity(self.entity_context.entity_id, "add", 100, signal_time=at)


@entity
def entities_log(ctx, value):
    """The same as a function: keeps a list of what it was told."""
    if ctx.operation == "append":
        ctx.set_state(ctx.get_state(list, []) + [value])
    elif ctx.operation == "remove":
        ctx.set_state(None)
    elif ctx.operation == "fail":
        raise RuntimeError("as asked")
    return ctx.get_state(list, [])


def counter(t, label: str = "k") -> EntityInstanceId:
    """An entity that only this run of this scenario has."""
    return EntityInstanceId("EntitiesCounter", t.id(label))


def state(t, entity_id: EntityInstanceId):
    """The state of an entity, None when there is none."""
    found = t.client.get_entity(entity_id)
    return found.get_typed_state() if found else None


def has(t, entity_id: EntityInstanceId, value) -> None:
    """Waits until the state of an entity is this."""
    t.until(lambda: state(t, entity_id) == value, f"{entity_id} is {value!r}, now {state(t, entity_id)!r}")


@scenario
def entity_is_signalled(t):
    mine, other = counter(t), counter(t, "other")
    assert t.client.get_entity(mine) is None
    for amount in (1, 20, 300):
        t.client.signal_entity(mine, "add", input=amount)
    t.client.signal_entity(other, "add", input=-5)
    has(t, mine, 321)
    has(t, other, -5)
    found = t.client.get_entity(mine)
    assert found.id == mine and found.includes_state and found.get_state(int) == 321, found
    assert datetime.now(timezone.utc) - found.last_modified < timedelta(minutes=1), found.last_modified
    assert found.get_locked_by() is None and found.backlog_queue_size == 0
    assert not t.client.get_entity(mine, include_state=False).includes_state


@scenario
def signals_in_order(t):
    log = EntityInstanceId("entities_log", t.id())
    for number in range(60):
        t.client.signal_entity(log, "append", input=number)
    has(t, log, list(range(60)))


@scenario
def signals_from_many_at_once(t):
    mine = counter(t)
    instances = [t.start(entities_signals, [str(mine), 10]) for _ in range(10)]
    for instance in instances:
        t.wait(instance, "COMPLETED")
    has(t, mine, 100)


@orchestrator
def entities_signals(ctx, plan: list):
    name, times = plan
    for _ in range(times):
        ctx.signal_entity(EntityInstanceId.parse(name), "add", 1)
    return "signalled"


@orchestrator
def entities_calls(ctx, name: str):
    mine = EntityInstanceId.parse(name)
    answers = []
    for amount in (5, 7):
        answers.append((yield ctx.call_entity(mine, "add", amount)))
    ctx.signal_entity(mine, "add", 100)
    answers.append((yield ctx.call_entity(mine, "get")))
    return answers


@scenario
def entity_is_called(t):
    mine = counter(t)
    # What was signalled before is seen by the call that follows.
    assert t.complete(entities_calls, str(mine)) == [5, 12, 112]
    assert state(t, mine) == 112


@orchestrator
def entities_calls_many(ctx, names: list):
    return (yield task.when_all([ctx.call_entity(EntityInstanceId.parse(name), "add", 1) for name in names]))


@scenario
def entities_are_called_in_parallel(t):
    names = [str(counter(t, str(number))) for number in range(8)]
    assert t.complete(entities_calls_many, names * 3) == [1] * 8 + [2] * 8 + [3] * 8


@orchestrator
def entities_fails(ctx, name: str):
    mine = EntityInstanceId.parse(name)
    yield ctx.call_entity(mine, "add", 1)
    try:
        yield ctx.call_entity(mine, "add_and_fail", 10)
    except task.TaskFailedError as error:
        told = error.details.message
    return [told, (yield ctx.call_entity(mine, "get"))]


@scenario
def entity_operation_that_fails(t):
    mine = counter(t)
    told, value = t.complete(entities_fails, str(mine))
    assert told == f"Operation 'add_and_fail' on entity '{mine}' failed with error: after adding 10", told
    assert value == 1, "neither the state nor the signals of an operation that failed are kept"
    time.sleep(0.5)
    assert state(t, mine) == 1


@orchestrator
def entities_fails_uncaught(ctx, plan: list):
    name, operation = plan
    yield ctx.call_entity(EntityInstanceId.parse(name), operation)


@scenario
def entity_operation_that_fails_its_caller(t):
    log = EntityInstanceId("entities_log", t.id())
    failure = t.wait(t.start(entities_fails_uncaught, [str(log), "fail"]), "FAILED").failure_details
    assert failure.message == f"Operation 'fail' on entity '{log}' failed with error: as asked", failure
    mine = counter(t)
    failure = t.wait(t.start(entities_fails_uncaught, [str(mine), "no_such"]), "FAILED").failure_details
    assert "no_such" in failure.message, failure


@scenario
def entity_among_signals_that_fail(t):
    mine = counter(t)
    for amount in range(5):
        t.client.signal_entity(mine, "add", input=1)
        t.client.signal_entity(mine, "add_and_fail", input=amount)
    has(t, mine, 5)


@scenario
def entity_is_deleted(t):
    mine = counter(t)
    t.client.signal_entity(mine, "add", input=3)
    has(t, mine, 3)
    t.client.signal_entity(mine, "delete")
    has(t, mine, None)
    # It begins afresh.
    t.client.signal_entity(mine, "add", input=4)
    has(t, mine, 4)
    log = EntityInstanceId("entities_log", t.id())
    for operation in ("append", "remove", "append"):
        t.client.signal_entity(log, operation, input=operation)
    has(t, log, ["append"])


@scenario
def entity_signals_another(t):
    first, second = counter(t, "first"), counter(t, "second")
    for amount in (10, 20):
        t.client.signal_entity(first, "pass_on", input=[second.entity, second.key, amount])
    has(t, second, 30)


@orchestrator
def entities_was_begun(_ctx, value):
    return {"begun with": value}


@orchestrator
def entities_begins(ctx, plan: list):
    return (yield ctx.call_entity(EntityInstanceId.parse(plan[0]), "begin", plan[1]))


@scenario
def entity_starts_an_orchestration(t):
    by_signal, by_call = t.id("signal"), t.id("call")
    mine = counter(t)
    t.client.signal_entity(mine, "begin", input=["entities_was_begun", [1, 2], by_signal])
    t.until(lambda: t.status(by_signal) == "COMPLETED", "what the entity starts completes")
    assert t.client.get_orchestration_state(by_signal).get_output() == {"begun with": [1, 2]}
    answer = t.complete(entities_begins, [str(mine), ["entities_was_begun", "x", by_call]])
    assert answer == by_call
    assert t.wait(by_call, "COMPLETED").get_output() == {"begun with": "x"}


@orchestrator
def entities_signals_later(ctx, name: str):
    at = ctx.current_utc_datetime + timedelta(seconds=1)
    ctx.signal_entity(EntityInstanceId.parse(name), "add", 10, signal_time=at)
    ctx.signal_entity(EntityInstanceId.parse(name), "add", 1)


@scenario
def signals_with_a_time(t):
    of_client, of_flow, of_itself, past = (counter(t, label) for label in ("client", "flow", "itself", "past"))
    began = time.monotonic()
    t.client.signal_entity(of_client, "add", input=5, signal_time=datetime.now(timezone.utc) + timedelta(seconds=1))
    t.client.signal_entity(past, "add", input=5, signal_time=datetime.now(timezone.utc) - timedelta(hours=1))
    t.complete(entities_signals_later, str(of_flow))
    t.client.signal_entity(of_itself, "later", input=1)
    t.client.signal_entity(of_itself, "add", input=1)
    has(t, past, 5)
    has(t, of_flow, 1)
    has(t, of_itself, 1)
    assert state(t, of_client) is None or time.monotonic() - began > 1, "before its time"
    has(t, of_client, 5)
    assert time.monotonic() - began >= 0.95
    has(t, of_flow, 11)
    has(t, of_itself, 101)


@scenario
def entity_names_in_any_case(t):
    key = t.id("Key")
    t.client.signal_entity(EntityInstanceId("ENTITIESCOUNTER", key), "add", input=1)
    t.client.signal_entity(EntityInstanceId("entitiescounter", key), "add", input=2)
    t.client.signal_entity(EntityInstanceId("entitiescounter", key.upper()), "add", input=50)
    has(t, EntityInstanceId("EntitiesCounter", key), 3)
