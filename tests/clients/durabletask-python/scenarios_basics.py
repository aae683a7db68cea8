"""Orchestrations and activities: chains, fan-out, timers, custom status, exact payloads, tags, a later start."""

import asyncio
import json
import time
from datetime import datetime, timedelta, timezone

from durabletask import task

from harness import PATIENCE, Calls, activity, orchestrator, scenario

calls = Calls()
seen: dict[str, set] = {}


@activity
def plus_one(_, number: int):
    return number + 1


@activity
def basics_square(context, number: int):
    calls.add((context.orchestration_id, number))
    return number * number


@activity
def basics_echo(_, value):
    return value


@activity
def basics_sleep(_, seconds: float):
    time.sleep(seconds)
    return seconds


@orchestrator
def basics_chain(ctx, start: int):
    numbers = [start]
    for _ in range(5):
        numbers.append((yield ctx.call_activity(plus_one, input=numbers[-1])))
    return numbers


@scenario
def chain(t):
    instance = t.start(basics_chain, 1)
    state = t.wait(instance, "COMPLETED")
    assert state.serialized_output == json.dumps([1, 2, 3, 4, 5, 6])
    assert state.serialized_input == json.dumps(1)
    assert state.name == "basics_chain" and state.instance_id == instance
    assert state.failure_details is None and state.serialized_custom_status is None
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    assert timedelta(0) <= now - state.created_at < timedelta(minutes=1), state.created_at
    assert state.created_at <= state.last_updated_at <= now


@orchestrator
def basics_empty(_ctx, _):
    return None


@scenario
def nothing_in_nothing_out(t):
    state = t.wait(t.start(basics_empty), "COMPLETED")
    assert state.serialized_input is None and state.serialized_output is None, state
    assert state.serialized_custom_status is None and state.failure_details is None, state


@orchestrator
def basics_fan_out(ctx, count: int):
    return (yield task.when_all([ctx.call_activity(basics_square, input=number) for number in range(count)]))


@scenario
def fan_out_and_in(t):
    instance = t.start(basics_fan_out, 50)
    assert t.wait(instance, "COMPLETED").get_output() == [number * number for number in range(50)]
    assert [calls.of((instance, number)) for number in range(50)] == [1] * 50


@orchestrator
def basics_first_of(ctx, _):
    slow = ctx.call_activity(basics_sleep, input=3)
    fast = ctx.call_activity(basics_echo, input="fast")
    winner = yield task.when_any([slow, fast])
    return winner.get_result() if winner is fast else "slow"


@scenario
def first_of_two(t):
    began = time.monotonic()
    assert t.complete(basics_first_of) == "fast"
    assert time.monotonic() - began < 3, "it waited for the loser"


@orchestrator
def basics_timers(ctx, _):
    start = ctx.current_utc_datetime
    yield ctx.create_timer(start - timedelta(hours=1))
    yield ctx.create_timer(timedelta(seconds=1))
    after_one = ctx.current_utc_datetime
    late, early = ctx.create_timer(timedelta(seconds=0.8)), ctx.create_timer(timedelta(seconds=0.2))
    first = yield task.when_any([late, early])
    yield late
    after_all = ctx.current_utc_datetime
    return [(after_one - start).total_seconds(), first is early, (after_all - after_one).total_seconds()]


@scenario
def timers(t):
    one, in_order, rest = t.complete(basics_timers)
    assert 1 <= one < 5 and in_order and 0.8 <= rest < 5, (one, in_order, rest)


@orchestrator
def basics_status(ctx, _):
    ctx.set_custom_status({"step": 1})
    yield ctx.wait_for_external_event("go")
    ctx.set_custom_status("at the end ✓")


@scenario
def custom_status(t):
    instance = t.start(basics_status)
    t.until(
        lambda: t.client.get_orchestration_state(instance).serialized_custom_status == json.dumps({"step": 1}),
        "the first custom status",
    )
    t.client.raise_orchestration_event(instance, "go")
    assert t.wait(instance, "COMPLETED").serialized_custom_status == json.dumps("at the end ✓")


@orchestrator
def basics_echo_flow(ctx, value):
    ctx.set_custom_status(value)
    through_activity = yield ctx.call_activity(basics_echo, input=value)
    through_event = yield ctx.wait_for_external_event("value")
    return [value, through_activity, through_event]


EXACT = [
    2**70, -(2**63) - 1, 1e300, 0.1 + 0.2, 0, False, "", [], {}, "žluťoučký kůň 🐎 \x00\u2028\"\\",
    {"z": 1, "a": [None, True, {"": " "}], "ß": "ä" * 300}, [[[[[[]]]]]], "1", "null",
]  # fmt: skip


@scenario
def payloads_to_the_letter(t):
    instances = [(value, t.start(basics_echo_flow, value)) for value in EXACT]
    for value, instance in instances:
        t.client.raise_orchestration_event(instance, "value", data=value)
    for value, instance in instances:
        state = t.wait(instance, "COMPLETED")
        assert state.serialized_input == json.dumps(value), (value, state.serialized_input)
        assert state.serialized_custom_status == json.dumps(value), (value, state.serialized_custom_status)
        assert state.serialized_output == json.dumps([value] * 3), (value, state.serialized_output)


@orchestrator
def basics_deterministic(ctx, _):
    facts = seen.setdefault(ctx.instance_id, set())
    facts.add((ctx.new_uuid(), ctx.new_uuid(), ctx.current_utc_datetime))
    for number in range(4):
        yield ctx.call_activity(plus_one, input=number)
    return [ctx.new_uuid(), ctx.current_utc_datetime.isoformat()]


@scenario
def the_same_at_every_replay(t):
    instance = t.start(basics_deterministic)
    last, ended = t.wait(instance, "COMPLETED").get_output()
    assert len(seen[instance]) == 1, f"replays saw different ids or times: {seen[instance]}"
    first, second, began = next(iter(seen[instance]))
    assert len({first, second, last}) == 3
    assert began < datetime.fromisoformat(ended)


@orchestrator
def basics_tagged(ctx, _):
    return (yield ctx.call_activity(plus_one, input=1, tags={"step": "one", "zażółć": "gęślą"}))


@scenario
def tags(t):
    wanted = {"team": "red", "empty": "", "zażółć": "gęślą"}
    instance = t.start(basics_tagged, tags=wanted)
    t.wait(instance, "COMPLETED")
    events = {type(event).__name__: event for event in t.client.get_orchestration_history(instance)}
    assert events["ExecutionStartedEvent"].tags == wanted, events["ExecutionStartedEvent"]


@scenario
def tags_of_an_activity(t):
    instance = t.start(basics_tagged)
    t.wait(instance, "COMPLETED")
    events = {type(event).__name__: event for event in t.client.get_orchestration_history(instance)}
    assert events["TaskScheduledEvent"].tags == {"step": "one", "zażółć": "gęślą"}, events["TaskScheduledEvent"]


@orchestrator
def basics_when(ctx, _):
    return ctx.current_utc_datetime.isoformat()


@scenario
def scheduled_start(t):
    at = datetime.now(timezone.utc) + timedelta(seconds=2)
    later = t.start(basics_when, start_at=at)
    past = t.start(basics_when, start_at=at - timedelta(days=1))
    t.wait(past, "COMPLETED", timeout=10)
    assert t.status(later) == "PENDING", t.status(later)
    began = datetime.fromisoformat(t.wait(later, "COMPLETED").get_output()).replace(tzinfo=timezone.utc)
    assert at <= began < at + timedelta(seconds=10), (at, began)


@orchestrator
def basics_detached(ctx, _):
    ctx.call_activity(basics_square, input=7)
    return "gone"


@scenario
def what_is_started_at_the_end_still_runs(t):
    instance = t.start(basics_detached)
    assert t.wait(instance, "COMPLETED").get_output() == "gone"
    t.until(lambda: calls.of((instance, 7)) == 1, "the activity that nobody awaits")


@scenario
def client_for_asyncio(t):
    async def drive() -> list:
        async with t.server.async_client() as client:
            ids = [t.id(str(number)) for number in range(3)]
            await asyncio.gather(
                *(client.schedule_new_orchestration(basics_chain, input=1, instance_id=one) for one in ids)
            )
            states = await asyncio.gather(
                *(client.wait_for_orchestration_completion(one, timeout=PATIENCE) for one in ids)
            )
            assert await client.get_orchestration_state(t.id("nobody")) is None
            return [state.get_output() for state in states]

    assert asyncio.run(drive()) == [[1, 2, 3, 4, 5, 6]] * 3
