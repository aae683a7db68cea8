"""Critical sections: orchestrations that lock entities exclude each other, and never leave a lock behind."""

import time
from datetime import timedelta

from durabletask import task
from durabletask.entities import DurableEntity, EntityInstanceId

from harness import activity, entity, orchestrator, scenario


@entity
class LocksAccount(DurableEntity):
    """A balance that can only be read and written, so that adding to it takes two operations."""

    def read(self):
        return self.get_state(int, 0)

    def write(self, balance: int):
        self.set_state(balance)

    def fail(self, _):
        raise ValueError("as asked")


@activity
def locks_think(_, seconds: float):
    time.sleep(seconds)


@orchestrator
def locks_transfer(ctx, plan: list):
    source, target = (EntityInstanceId.parse(name) for name in plan[:2])
    for _ in range(plan[2]):
        with (yield ctx.lock_entities([source, target])):
            of_source = yield ctx.call_entity(source, "read")
            of_target = yield ctx.call_entity(target, "read")
            yield ctx.call_activity(locks_think, input=0.01)
            yield task.when_all(
                [ctx.call_entity(source, "write", of_source - 1), ctx.call_entity(target, "write", of_target + 1)]
            )
    return "transferred"


def account(t, label: str) -> EntityInstanceId:
    """An account that only this run of this scenario has."""
    return EntityInstanceId("LocksAccount", t.id(label))


def balance(t, entity_id: EntityInstanceId):
    """The balance of an account."""
    found = t.client.get_entity(entity_id)
    return found.get_typed_state() if found else None


def free(t, *entities: EntityInstanceId) -> None:
    """Asserts that nobody keeps these locked."""
    assert t.complete(locks_touch, [str(one) for one in entities]) == "touched"


@orchestrator
def locks_touch(ctx, names: list):
    with (yield ctx.lock_entities([EntityInstanceId.parse(name) for name in names])):
        return "touched"


@scenario
def locks_exclude_each_other(t):
    a, b = account(t, "a"), account(t, "b")
    there = [t.start(locks_transfer, [str(a), str(b), 5]) for _ in range(3)]
    back = [t.start(locks_transfer, [str(b), str(a), 5]) for _ in range(2)]
    for instance in there + back:
        t.wait(instance, "COMPLETED")
    assert (balance(t, a), balance(t, b)) == (-5, 5)


@scenario
def locks_in_a_ring_do_not_deadlock(t):
    ring = [account(t, label) for label in "abcd"]
    pairs = list(zip(ring, ring[1:] + ring[:1], strict=True))
    instances = [t.start(locks_transfer, [str(source), str(target), 2]) for source, target in pairs * 2]
    for instance in instances:
        t.wait(instance, "COMPLETED")
    assert [balance(t, one) for one in ring] == [0, 0, 0, 0]


@orchestrator
def locks_hold(ctx, names: list):
    with (yield ctx.lock_entities([EntityInstanceId.parse(name) for name in names])):
        ctx.set_custom_status("locked")
        return (yield ctx.wait_for_external_event("release"))


@orchestrator
def locks_read(ctx, name: str):
    return (yield ctx.call_entity(EntityInstanceId.parse(name), "read"))


def holding(t, entities: list[EntityInstanceId]) -> str:
    """An instance that holds these until it is told otherwise."""
    instance = t.start(locks_hold, [str(one) for one in entities])
    t.until(
        lambda: t.client.get_orchestration_state(instance).get_custom_status() == "locked", "the lock is granted"
    )
    return instance


@scenario
def locked_entity_lets_others_wait(t):
    a, b = account(t, "a"), account(t, "b")
    holder = holding(t, [a, b])
    reader, locker = t.start(locks_read, str(a)), t.start(locks_touch, [str(b)])
    time.sleep(1)
    assert t.status(reader) == "RUNNING", "it called an entity that another one holds"
    assert t.status(locker) == "RUNNING", "it locked an entity that another one holds"
    t.client.signal_entity(a, "write", input=77)
    time.sleep(0.5)
    assert balance(t, a) is None, "a signal went through to an entity that is locked"
    t.client.raise_orchestration_event(holder, "release", data="free")
    assert t.wait(holder, "COMPLETED").get_output() == "free"
    assert t.wait(reader, "COMPLETED").get_output() == 0
    assert t.wait(locker, "COMPLETED").get_output() == "touched"
    t.until(lambda: balance(t, a) == 77, "the signal comes through")


@scenario
def locks_wait_their_turn(t):
    a, b, c = (account(t, label) for label in "abc")
    holder = holding(t, [b])
    both = t.start(locks_touch, [str(a), str(b)])
    time.sleep(0.3)
    # What does not meet the one that waits for b is not held up by it.
    assert t.complete(locks_touch, [str(c)]) == "touched"
    assert t.status(both) == "RUNNING"
    t.client.raise_orchestration_event(holder, "release")
    assert t.wait(both, "COMPLETED").get_output() == "touched"


@orchestrator
def locks_fail_inside(ctx, name: str):
    with (yield ctx.lock_entities([EntityInstanceId.parse(name)])):
        raise RuntimeError("inside")


@orchestrator
def locks_continue_inside(ctx, plan: list):
    name, generation = plan
    with (yield ctx.lock_entities([EntityInstanceId.parse(name)])):
        if generation < 3:
            ctx.continue_as_new([name, generation + 1])
            return None
        return generation


@orchestrator
def locks_fail_an_operation(ctx, name: str):
    mine = EntityInstanceId.parse(name)
    failures = 0
    with (yield ctx.lock_entities([mine])):
        for _ in range(2):
            try:
                yield ctx.call_entity(mine, "fail")
            except task.TaskFailedError:
                failures += 1
    try:
        yield ctx.call_entity(mine, "fail")
    except task.TaskFailedError:
        failures += 1
    return failures


@scenario
def locks_are_released_by_failures(t):
    a, b, c = (account(t, label) for label in "abc")
    t.wait(t.start(locks_fail_inside, str(a)), "FAILED")
    free(t, a)
    assert t.complete(locks_continue_inside, [str(b), 0]) == 3
    free(t, b)
    assert t.complete(locks_fail_an_operation, str(c)) == 3
    free(t, c)


@scenario
def locks_are_released_by_termination(t):
    a, b = account(t, "a"), account(t, "b")
    holder = holding(t, [a, b])
    waiter = t.start(locks_hold, [str(a)])
    t.running(waiter)
    t.client.terminate_orchestration(waiter)
    t.wait(waiter, "TERMINATED")
    t.client.terminate_orchestration(holder)
    t.wait(holder, "TERMINATED")
    # The lock that the terminated one was waiting for must not be granted to it now.
    free(t, a, b)


@orchestrator
def locks_with_timer(ctx, names: list):
    with (yield ctx.lock_entities([EntityInstanceId.parse(name) for name in names])):
        yield ctx.create_timer(timedelta(seconds=0.3))
        answer = yield ctx.call_sub_orchestrator("locks_answer", input="from inside")
    return answer


@orchestrator
def locks_answer(_ctx, value):
    return value


@scenario
def locks_held_over_timers_and_children(t):
    a = account(t, "a")
    instances = [t.start(locks_with_timer, [str(a), str(a)]) for _ in range(3)]
    for instance in instances:
        assert t.wait(instance, "COMPLETED").get_output() == "from inside"
