"""Continue-as-new: many generations, events that are carried over, what an old one may not do to the new one."""

import time
from datetime import datetime, timedelta

from harness import Calls, activity, orchestrator, scenario

calls = Calls()


@activity
def generations_step(context, number: int):
    calls.add((context.orchestration_id, number))
    return number


@orchestrator
def generations_count_down(ctx, number: int):
    yield ctx.call_activity(generations_step, input=number)
    if number > 0:
        ctx.continue_as_new(number - 1)
        return
    return "landed"


@scenario
def continue_as_new_many_times(t):
    instance = t.start(generations_count_down, 30)
    state = t.wait(instance, "COMPLETED")
    assert state.get_output() == "landed"
    assert [calls.of((instance, number)) for number in range(31)] == [1] * 31
    assert state.serialized_input == "0", f"the input is that of the last generation, not {state.serialized_input}"
    kinds = [type(event).__name__ for event in t.client.get_orchestration_history(instance)]
    assert kinds.count("ExecutionStartedEvent") == 1 and kinds.count("TaskScheduledEvent") == 1, kinds


@orchestrator
def generations_collect(ctx, seen: list):
    seen.append((yield ctx.wait_for_external_event("item")))
    if len(seen) < 20:
        ctx.continue_as_new(seen, save_events=True)
        return
    return seen


@scenario
def continue_as_new_keeps_events(t):
    together, one_by_one = t.start(generations_collect, []), t.start(generations_collect, [])
    for number in range(20):
        t.client.raise_orchestration_event(together, "item", data=number)
    for number in range(20):
        t.client.raise_orchestration_event(one_by_one, "item", data=number)
        time.sleep(0.02)
    for instance in (together, one_by_one):
        assert t.wait(instance, "COMPLETED").get_output() == list(range(20))


@orchestrator
def generations_two_names(ctx, round_number: int):
    if round_number < 3:
        yield ctx.create_timer(timedelta(seconds=0.2))
        ctx.continue_as_new(round_number + 1, save_events=True)
        return
    answers = []
    for name in ("A", "b", "A"):
        answers.append((yield ctx.wait_for_external_event(name)))
    return answers


@scenario
def continue_as_new_keeps_events_of_every_name(t):
    instance = t.start(generations_two_names, 0)
    for name, data in [("b", 1), ("A", {"x": [2]}), ("a", None)]:
        t.client.raise_orchestration_event(instance, name, data=data)
    assert t.wait(instance, "COMPLETED").get_output() == [{"x": [2]}, 1, None]


@orchestrator
def generations_version(ctx, seen: list):
    seen.append(ctx.version)
    if len(seen) < 3:
        ctx.continue_as_new(seen, new_version="2.0" if len(seen) == 1 else None)
        return
    return seen


@scenario
def continue_as_new_with_a_new_version(t):
    assert t.complete(generations_version, [], version="1.0") == ["1.0", "2.0", "2.0"]


@orchestrator
def generations_loser(ctx, generation: int):
    began = ctx.current_utc_datetime
    if generation == 0:
        # Timer 1 of this generation is still to fire when timer 1 of the next one is set.
        ctx.create_timer(timedelta(seconds=0.4))
        yield ctx.create_timer(timedelta(seconds=0.05))
        ctx.continue_as_new(1)
        return
    yield ctx.create_timer(timedelta(seconds=1.5))
    return (ctx.current_utc_datetime - began).total_seconds()


@scenario
def timer_of_an_old_generation(t):
    waited = t.complete(generations_loser, 0)
    assert waited >= 1.5, f"a timer of 1.5 s fired after {waited} s"


@activity
def generations_sleep(_, plan: list):
    seconds, answer = plan
    time.sleep(seconds)
    return answer


@orchestrator
def generations_late_result(ctx, generation: int):
    if generation == 0:
        ctx.call_activity(generations_sleep, input=[0.5, "of the old one"])
        yield ctx.create_timer(timedelta(seconds=0.05))
        ctx.continue_as_new(1)
        return
    return (yield ctx.call_activity(generations_sleep, input=[1.2, "of the new one"]))


@scenario
def result_for_an_old_generation(t):
    assert t.complete(generations_late_result, 0) == "of the new one"


@orchestrator
def generations_child(ctx, number: int):
    if number < 3:
        yield ctx.create_timer(timedelta(seconds=0.05))
        ctx.continue_as_new(number + 1)
        return
    return number


@orchestrator
def generations_parent(ctx, generation: int):
    # Its child has the same id in every generation: the SDK makes it of this instance's id and the call's number.
    answer = yield ctx.call_sub_orchestrator(generations_child, input=0)
    if generation < 3:
        ctx.continue_as_new(generation + 1)
        return
    return answer


@scenario
def sub_orchestrations_over_generations(t):
    instance = t.start(generations_parent, 0)
    assert t.wait(instance, "COMPLETED").get_output() == 3


@orchestrator
def generations_clock(ctx, times: list):
    times.append([ctx.current_utc_datetime.isoformat(), ctx.new_uuid()])
    if len(times) < 10:
        ctx.continue_as_new(times)
        return
    return times


@scenario
def time_goes_on_over_generations(t):
    times = t.complete(generations_clock, [])
    clock = [datetime.fromisoformat(one) for one, _ in times]
    assert clock == sorted(clock), clock
    assert len({unique for _, unique in times}) == 10, "two generations made the same id"


@orchestrator
def generations_eternal(ctx, number: int):
    ctx.set_custom_status(number)
    yield ctx.create_timer(timedelta(seconds=0.05))
    ctx.continue_as_new(number + 1)


@scenario
def eternal_orchestration_is_terminated(t):
    instance = t.start(generations_eternal, 0)
    t.until(lambda: (t.client.get_orchestration_state(instance).get_custom_status() or 0) >= 5, "five generations")
    t.client.terminate_orchestration(instance, output="enough")
    assert t.wait(instance, "TERMINATED").get_output() == "enough"
