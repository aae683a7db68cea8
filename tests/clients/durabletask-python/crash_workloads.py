"""The workloads of `crash.py`: each is a generator that yields where the server may be killed, and then goes on.

What it yields is a predicate: the middle is reached when it holds.
"""

import time
from datetime import datetime, timedelta, timezone

from durabletask import task
from durabletask.entities import DurableEntity, EntityInstanceId

from crash_effects import Effects

effects: Effects

# The instances whose activity does not break any more.
mended: set[str] = set()


def step(context, plan: list):
    """Does a step, which takes some time, and tells its name."""
    name, seconds = plan
    effects.did(context, name)
    time.sleep(seconds)
    return name


def fails_twice(context, counter: str):
    """Fails at the first two attempts, however often the server is killed."""
    effects.did(context, f"attempt {effects.count(context.orchestration_id) + 1}")
    if effects.count(context.orchestration_id) < 3:
        raise RuntimeError(counter)
    return "at last"


def breaks(context, _):
    """Fails until somebody mends it, however often it is run because the server was killed."""
    effects.did(context, f"try {effects.count(context.orchestration_id)}")
    if context.orchestration_id not in mended:
        raise RuntimeError("broken")
    return "mended"


def chain(ctx, count: int):
    """Steps one after the other."""
    done = []
    for number in range(count):
        done.append((yield ctx.call_activity(step, input=[f"s{number}", 0.15])))
    return done


def fan_out(ctx, count: int):
    """Steps side by side."""
    plans = [[f"f{number}", 0.05 * (number % 10)] for number in range(count)]
    return (yield task.when_all([ctx.call_activity(step, input=plan) for plan in plans]))


def timers(ctx, _):
    """Timers of which one is due while the server is away."""
    start = ctx.current_utc_datetime
    three = [ctx.create_timer(timedelta(seconds=seconds)) for seconds in (0.5, 1.0, 4.0)]
    ctx.set_custom_status("set")
    for one in three:
        yield one
    yield ctx.create_timer(timedelta(seconds=0.5))
    return (ctx.current_utc_datetime - start).total_seconds()


def parent(ctx, count: int):
    """Children, which have children."""
    ids = [f"{ctx.instance_id}.{number}" for number in range(count)]
    return (yield task.when_all([ctx.call_sub_orchestrator(middle, input=3, instance_id=one) for one in ids]))


def middle(ctx, count: int):
    """A child whose work is done by its own child."""
    return (yield ctx.call_sub_orchestrator(chain, input=count, instance_id=f"{ctx.instance_id}.leaf"))


def collect(ctx, count: int):
    """Events, in their order."""
    seen = []
    for _ in range(count):
        seen.append((yield ctx.wait_for_external_event("e")))
    return seen


def waiting_family(ctx, count: int):
    """Children that wait for events which nobody raises."""
    ids = [f"{ctx.instance_id}.{number}" for number in range(count)]
    return (yield task.when_all([ctx.call_sub_orchestrator(collect, input=1, instance_id=one) for one in ids]))


def collect_over_generations(ctx, plan: list):
    """One event for each generation, the rest carried over."""
    count, seen = plan
    seen.append((yield ctx.wait_for_external_event("e")))
    yield ctx.create_timer(timedelta(seconds=0.1))
    if len(seen) < count:
        ctx.continue_as_new([count, seen], save_events=True)
        return None
    return seen


def generations(ctx, plan: list):
    """A step for each generation."""
    number, last = plan
    yield ctx.call_activity(step, input=[f"g{number}", 0.1])
    if number < last:
        ctx.continue_as_new([number + 1, last])
        return None
    return number


class Counter(DurableEntity):
    """A number; `add` is one operation, `read` and `write` are the two of those who lock it."""

    def add(self, amount: int):
        self.set_state(self.get_state(int, 0) + amount)
        return self.get_state(int)

    def read(self):
        return self.get_state(int, 0)

    def write(self, number: int):
        self.set_state(number)


def calls(ctx, plan: list):
    """Calls of one entity, one after the other."""
    name, count = plan
    answers = []
    for _ in range(count):
        answers.append((yield ctx.call_entity(EntityInstanceId.parse(name), "add", 1)))
    return answers


def transfers(ctx, plan: list):
    """Moves from one entity to another, in critical sections."""
    source, target = (EntityInstanceId.parse(name) for name in plan[:2])
    for number in range(plan[2]):
        with (yield ctx.lock_entities([source, target])):
            of_source = yield ctx.call_entity(source, "read")
            of_target = yield ctx.call_entity(target, "read")
            yield ctx.call_activity(step, input=[f"t{number}", 0.05])
            yield ctx.call_entity(source, "write", of_source - 1)
            yield ctx.call_entity(target, "write", of_target + 1)
    return plan[2]


def retries(ctx, _):
    """An activity that is tried again after a while."""
    policy = task.RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=50)
    return (yield ctx.call_activity(fails_twice, input="x", retry_policy=policy))


def breaks_once(ctx, _):
    """Fails, until it is rewound."""
    return [(yield ctx.call_activity(step, input=["before", 0])), (yield ctx.call_activity(breaks))]


ORCHESTRATORS = [
    chain, fan_out, timers, parent, middle, collect, collect_over_generations, generations, calls, transfers, retries,
    breaks_once, waiting_family,
]  # fmt: skip
ACTIVITIES = [step, fails_twice, breaks]
ENTITIES = [Counter]


def in_a_chain(w):
    instance = w.start(chain, 8, label="chain")
    yield lambda: w.effects.count(instance) >= 3
    yield lambda: w.effects.count(instance) >= 6
    assert w.wait(instance).get_output() == [f"s{number}" for number in range(8)]


def in_a_fan_out(w):
    instance = w.start(fan_out, 40, label="fan")
    yield lambda: w.effects.count(instance) >= 10
    assert w.wait(instance).get_output() == [f"f{number}" for number in range(40)]


def amid_timers(w):
    instance = w.start(timers, label="timers")
    yield lambda: w.state(instance).get_custom_status() == "set"
    took = w.wait(instance).get_output()
    assert 4.5 <= took < 60, took


def in_sub_orchestrations(w):
    instance = w.start(parent, 4, label="parent")
    leaves = [f"{instance}.{number}.leaf" for number in range(4)]
    yield lambda: sum(w.effects.count(leaf) for leaf in leaves) >= 5
    assert w.wait(instance).get_output() == [["s0", "s1", "s2"]] * 4
    for leaf in leaves:
        w.wait(leaf)


def between_events(w):
    instance = w.start(collect, 30, label="events")
    fresh = w.start(collect_over_generations, [12, []], label="generations-of-events")
    for number in range(15):
        w.event(instance, "e", number)
    for number in range(8):
        w.event(fresh, "e", number)
    yield lambda: True
    for number in range(15, 30):
        w.event(instance, "e", number)
    for number in range(8, 12):
        w.event(fresh, "e", number)
    assert w.wait(instance).get_output() == list(range(30))
    assert w.wait(fresh).get_output() == list(range(12))


def in_generations(w):
    instance = w.start(generations, [0, 20], label="generations")
    yield lambda: w.effects.count(instance) >= 5
    yield lambda: w.effects.count(instance) >= 12
    assert w.wait(instance).get_output() == 20
    assert w.effects.count(instance) == 21


def amid_entity_calls(w):
    counter = EntityInstanceId("Counter", w.id("calls"))
    instances = [w.start(calls, [str(counter), 20], label="calls") for _ in range(3)]
    for _ in range(10):
        w.signal(counter, "add", 100)
    yield lambda: (w.value(counter) or 0) % 100 >= 15
    answers = [answer for instance in instances for answer in w.wait(instance).get_output()]
    assert len(set(answers)) == 60, "two calls were given the same number"
    w.until(lambda: w.value(counter) == 1060, f"all calls and signals count once: {w.value(counter)}")


def under_locks(w):
    a, b = (EntityInstanceId("Counter", w.id(label)) for label in "ab")
    plans = [[str(a), str(b), 5]] * 2 + [[str(b), str(a), 3]] * 2
    instances = [w.start(transfers, plan, label="transfers") for plan in plans]
    yield lambda: sum(w.effects.count(instance) for instance in instances) >= 4
    yield lambda: sum(w.effects.count(instance) for instance in instances) >= 9
    for instance in instances:
        w.wait(instance)
    assert (w.value(a), w.value(b)) == (-4, 4), (w.value(a), w.value(b))


def while_suspended(w):
    instance = w.start(collect, 3, label="suspended")
    w.event(instance, "e", 0)
    w.until(lambda: w.status(instance) == "RUNNING", "it runs")
    w.once(lambda: w.client.suspend_orchestration(instance))
    w.until(lambda: w.status(instance) == "SUSPENDED", "it is suspended")
    w.event(instance, "e", 1)
    yield lambda: True
    assert w.status(instance) == "SUSPENDED", w.status(instance)
    w.event(instance, "e", 2)
    time.sleep(0.5)
    assert w.status(instance) == "SUSPENDED", w.status(instance)
    w.once(lambda: w.client.resume_orchestration(instance))
    assert w.wait(instance).get_output() == [0, 1, 2]


def between_attempts(w):
    instance = w.start(retries, label="retries")
    yield lambda: w.effects.count(instance) >= 1
    assert w.wait(instance).get_output() == "at last"
    assert w.effects.count(instance) >= 3


def right_after_the_answer(w):
    """Everything here is answered before the kill and not seen to happen before it."""
    failed = w.start(breaks_once, label="rewound")
    purged = w.start(chain, 1, label="purged")
    family = w.start(waiting_family, 2, label="terminated")
    children = [f"{family}.{number}" for number in range(2)]
    w.wait(failed, "FAILED")
    w.wait(purged)
    for child in children:
        w.until(lambda one=child: w.status(one) == "RUNNING", "the children wait")
    counter, later = (EntityInstanceId("Counter", w.id(label)) for label in ("now", "later"))
    at = datetime.now(timezone.utc) + timedelta(seconds=3)
    put_off = w.start(chain, 1, label="put-off", start_at=at)
    w.signal(later, "add", 7, signal_time=at)
    started = [w.start(chain, 1, label="started") for _ in range(20)]
    for _ in range(20):
        w.signal(counter, "add", 1)
    mended.add(failed)
    w.once(lambda: w.client.rewind_orchestration(failed))
    w.once(lambda: w.client.purge_orchestration(purged))
    w.once(lambda: w.client.terminate_orchestration(family, output="stop", recursive=True))
    yield lambda: True
    assert w.state(purged) is None, "it was purged"
    assert w.wait(family, "TERMINATED").get_output() == "stop"
    for child in children:
        w.wait(child, "TERMINATED")
    assert w.wait(failed).get_output() == ["before", "mended"]
    for instance in started:
        assert w.wait(instance).get_output() == ["s0"]
    w.until(lambda: w.value(counter) == 20, f"every signal counts once: {w.value(counter)}")
    w.wait(put_off)
    assert datetime.now(timezone.utc) >= at, "before its time"
    w.until(lambda: w.value(later) == 7, f"the signal with a time: {w.value(later)}")


WORKLOADS = [
    in_a_chain, in_a_fan_out, amid_timers, in_sub_orchestrations, between_events, in_generations, amid_entity_calls,
    under_locks, while_suspended, between_attempts, right_after_the_answer,
]  # fmt: skip
