"""Suspending, resuming and terminating instances from outside."""

import time
from datetime import timedelta

from durabletask import task

from harness import Calls, activity, orchestrator, scenario

calls = Calls()


@activity
def control_slow(context, step: int):
    calls.add((context.orchestration_id, step))
    time.sleep(0.6)
    return step


@activity
def control_quick(context, step: int):
    calls.add((context.orchestration_id, step))
    return step


@orchestrator
def control_waits(ctx, _):
    return (yield ctx.wait_for_external_event("go"))


@orchestrator
def control_works(ctx, steps: int):
    done = []
    for step in range(steps):
        done.append((yield ctx.call_activity(control_slow, input=step)))
    return done


def suspended(t, instance: str) -> None:
    """Suspends an instance and waits until it is."""
    t.client.suspend_orchestration(instance, reason="for a while")
    t.reaches(instance, "SUSPENDED")


def does_not_end(t, instance: str, seconds: float = 1.0) -> None:
    """Asserts that an instance does not end within this time."""
    try:
        state = t.client.wait_for_orchestration_completion(instance, timeout=seconds)
    except TimeoutError:
        return
    raise AssertionError(f"it ended: {state}")


@scenario
def suspend_and_resume(t):
    instance = t.start(control_waits)
    t.running(instance)
    suspended(t, instance)
    t.client.suspend_orchestration(instance)
    t.client.raise_orchestration_event(instance, "go", data="meanwhile")
    does_not_end(t, instance)
    assert t.status(instance) == "SUSPENDED"
    t.client.resume_orchestration(instance, reason="go on")
    assert t.wait(instance, "COMPLETED").get_output() == "meanwhile"


@orchestrator
def control_three(ctx, _):
    answers = []
    for step in range(3):
        answers.append((yield ctx.wait_for_external_event("go")))
        yield ctx.call_activity(control_quick, input=step)
    return answers


@scenario
def events_while_suspended_keep_their_order(t):
    instance = t.start(control_three)
    t.running(instance)
    t.client.raise_orchestration_event(instance, "go", data=0)
    suspended(t, instance)
    for number in (1, 2):
        t.client.raise_orchestration_event(instance, "go", data=number)
    t.client.resume_orchestration(instance)
    assert t.wait(instance, "COMPLETED").get_output() == [0, 1, 2]
    assert [calls.of((instance, step)) for step in range(3)] == [1, 1, 1]


@scenario
def activity_that_ends_while_suspended(t):
    instance = t.start(control_works, 3)
    t.until(lambda: calls.of((instance, 0)), "the first activity runs")
    suspended(t, instance)
    does_not_end(t, instance)
    t.client.resume_orchestration(instance)
    assert t.wait(instance, "COMPLETED").get_output() == [0, 1, 2]
    assert [calls.of((instance, step)) for step in range(3)] == [1, 1, 1], "an activity ran twice"


@scenario
def suspended_in_the_turn_that_schedules(t):
    # An event and a suspension at once may come to the worker in one turn, whose activity must not be scheduled again.
    instances = [t.start(control_three) for _ in range(8)]
    for instance in instances:
        t.running(instance)
    for instance in instances:
        t.client.raise_orchestration_event(instance, "go", data="a")
        t.client.suspend_orchestration(instance)
    for instance in instances:
        t.reaches(instance, "SUSPENDED")
        for data in ("b", "c"):
            t.client.raise_orchestration_event(instance, "go", data=data)
    time.sleep(0.5)
    for instance in instances:
        t.client.resume_orchestration(instance)
    for instance in instances:
        assert t.wait(instance, "COMPLETED").get_output() == ["a", "b", "c"]
        assert [calls.of((instance, step)) for step in range(3)] == [1, 1, 1], "an activity ran twice"


@orchestrator
def control_timer(ctx, _):
    yield ctx.create_timer(timedelta(seconds=0.5))
    return "fired"


@scenario
def timer_that_fires_while_suspended(t):
    instance = t.start(control_timer)
    t.running(instance)
    suspended(t, instance)
    does_not_end(t, instance)
    t.client.resume_orchestration(instance)
    assert t.wait(instance, "COMPLETED").get_output() == "fired"


@scenario
def suspended_twice_over(t):
    instance = t.start(control_three)
    t.running(instance)
    for number in range(3):
        suspended(t, instance)
        t.client.raise_orchestration_event(instance, "go", data=number)
        t.client.resume_orchestration(instance)
        t.until(lambda: t.status(instance) != "SUSPENDED", "it goes on")
    assert t.wait(instance, "COMPLETED").get_output() == [0, 1, 2]
    # Neither of these means anything to an instance that has ended or was not suspended.
    t.client.resume_orchestration(instance)
    assert t.status(instance) == "COMPLETED"


@scenario
def terminate(t):
    plain, with_output = t.start(control_waits), t.start(control_waits)
    for instance in (plain, with_output):
        t.running(instance)
    t.client.terminate_orchestration(plain)
    t.client.terminate_orchestration(with_output, output={"why": ["enough", 1]})
    assert t.wait(plain, "TERMINATED").serialized_output is None
    state = t.wait(with_output, "TERMINATED")
    assert state.serialized_output == '{"why": ["enough", 1]}', state
    assert state.failure_details is None, state
    # What has ended stays as it ended.
    t.client.terminate_orchestration(with_output, output="again")
    assert t.wait(with_output, "TERMINATED").get_output() == {"why": ["enough", 1]}


@scenario
def terminate_while_suspended(t):
    instance = t.start(control_works, 3)
    t.until(lambda: calls.of((instance, 0)), "the first activity runs")
    suspended(t, instance)
    t.client.terminate_orchestration(instance, output="stopped")
    assert t.wait(instance, "TERMINATED").get_output() == "stopped"
    time.sleep(1)
    assert calls.of((instance, 1)) == 0, "it went on after its end"


@scenario
def terminate_in_the_middle_of_work(t):
    instance = t.start(control_works, 5)
    t.until(lambda: calls.of((instance, 1)), "the second activity runs")
    t.client.terminate_orchestration(instance)
    t.wait(instance, "TERMINATED")
    time.sleep(1.5)
    assert calls.of((instance, 3)) == 0, "it went on after its end"
    assert t.status(instance) == "TERMINATED"


@scenario
def terminate_what_no_worker_has_begun(t):
    instance = t.start(t.id("nobody"))
    assert t.status(instance) == "PENDING"
    t.client.terminate_orchestration(instance, output="never begun")
    assert t.wait(instance, "TERMINATED").get_output() == "never begun"


@orchestrator
def control_family(ctx, plan: list):
    key, depth = plan
    if depth == 0:
        return (yield ctx.wait_for_external_event("go"))
    children = [
        ctx.call_sub_orchestrator(control_family, input=[key, depth - 1], instance_id=f"{ctx.instance_id}.{number}")
        for number in range(2)
    ]
    return (yield task.when_all(children))


@scenario
def terminate_recursively(t):
    root = t.start(control_family, [t.id(), 2])
    family = [root] + [f"{root}.{a}" for a in "01"] + [f"{root}.{a}.{b}" for a in "01" for b in "01"]
    for instance in family:
        t.until(lambda one=instance: t.status(one) == "RUNNING", f"{instance} runs")
    t.client.terminate_orchestration(root, output="all of you", recursive=True)
    for instance in family:
        t.wait(instance, "TERMINATED")
    assert t.client.get_orchestration_state(root).get_output() == "all of you"


@scenario
def terminate_the_parent_only(t):
    root = t.start(control_family, [t.id(), 1])
    children = [f"{root}.{number}" for number in range(2)]
    for instance in children:
        t.until(lambda one=instance: t.status(one) == "RUNNING", f"{instance} runs")
    t.client.terminate_orchestration(root, recursive=False)
    t.wait(root, "TERMINATED")
    time.sleep(0.5)
    assert [t.status(instance) for instance in children] == ["RUNNING", "RUNNING"]
    for instance in children:
        t.client.raise_orchestration_event(instance, "go", data="on my own")
        assert t.wait(instance, "COMPLETED").get_output() == "on my own"
    assert t.status(root) == "TERMINATED"
