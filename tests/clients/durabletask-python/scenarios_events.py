"""External events: before and after the start, in order, by name, with a timeout, from another orchestration."""

from datetime import timedelta

from durabletask import task

from harness import named, orchestrator, scenario


@orchestrator
def events_one(ctx, name: str):
    return (yield ctx.wait_for_external_event(name))


@scenario
def event_after_the_start(t):
    instance = t.start(events_one, "answer")
    t.running(instance)
    t.client.raise_orchestration_event(instance, "other", data=1)
    t.client.raise_orchestration_event(instance, "answer", data={"is": 42})
    assert t.wait(instance, "COMPLETED").get_output() == {"is": 42}


@scenario
def event_without_data(t):
    instance = t.start(events_one, "ping")
    t.client.raise_orchestration_event(instance, "ping")
    assert t.wait(instance, "COMPLETED").serialized_output is None


@scenario
def event_names_in_any_case(t):
    instance = t.start(events_one, "GoAhead")
    t.client.raise_orchestration_event(instance, "goAHEAD", data="yes")
    assert t.wait(instance, "COMPLETED").get_output() == "yes"


def _three(ctx, _):
    answers = []
    for _ in range(3):
        answers.append((yield ctx.wait_for_external_event("e")))
    return answers


@scenario
def events_before_the_start(t):
    name = t.id()
    instance = t.start(name)
    for number in range(3):
        t.client.raise_orchestration_event(instance, "e", data=number)
    assert t.status(instance) == "PENDING"
    t.worker(orchestrators=[named(_three, name)])
    assert t.wait(instance, "COMPLETED").get_output() == [0, 1, 2]


@orchestrator
def events_many(ctx, count: int):
    answers = []
    for _ in range(count):
        answers.append((yield ctx.wait_for_external_event("e")))
    return answers


@scenario
def many_events_in_order(t):
    instance = t.start(events_many, 40)
    for number in range(40):
        t.client.raise_orchestration_event(instance, "e", data=number)
    assert t.wait(instance, "COMPLETED").get_output() == list(range(40))


@orchestrator
def events_two_names(ctx, _):
    first = yield ctx.wait_for_external_event("a")
    second = yield ctx.wait_for_external_event("b")
    third = yield ctx.wait_for_external_event("a")
    return [first, second, third]


@scenario
def events_of_two_names(t):
    instance = t.start(events_two_names)
    t.running(instance)
    for name, data in [("b", "b1"), ("a", "a1"), ("a", "a2"), ("b", "b2")]:
        t.client.raise_orchestration_event(instance, name, data=data)
    assert t.wait(instance, "COMPLETED").get_output() == ["a1", "b1", "a2"]


@orchestrator
def events_together(ctx, names: list):
    return (yield task.when_all([ctx.wait_for_external_event(name) for name in names]))


@scenario
def events_awaited_together(t):
    instance = t.start(events_together, ["x", "y", "x"])
    for name, data in [("y", 1), ("x", 2), ("x", 3)]:
        t.client.raise_orchestration_event(instance, name, data=data)
    assert t.wait(instance, "COMPLETED").get_output() == [2, 1, 3]


@orchestrator
def events_or_timer(ctx, seconds: float):
    approval = ctx.wait_for_external_event("approval")
    timeout = ctx.create_timer(timedelta(seconds=seconds))
    winner = yield task.when_any([approval, timeout])
    if winner is timeout:
        approval.cancel()
        return "timed out"
    timeout.cancel()
    return approval.get_result()


@scenario
def event_with_a_timeout(t):
    late, in_time = t.start(events_or_timer, 0.5), t.start(events_or_timer, 60)
    t.running(in_time)
    t.client.raise_orchestration_event(in_time, "approval", data="approved")
    assert t.wait(in_time, "COMPLETED", timeout=10).get_output() == "approved"
    assert t.wait(late, "COMPLETED").get_output() == "timed out"
    # To an instance that has ended it is of no use and does no harm.
    t.client.raise_orchestration_event(late, "approval", data="too late")
    assert t.client.get_orchestration_state(late).get_output() == "timed out"


@orchestrator
def events_sender(ctx, target: str):
    for number in range(3):
        ctx.send_event(target, "e", data=number)
    ctx.send_event(f"{target}-nobody", "e", data="lost")
    yield ctx.create_timer(timedelta(seconds=0.1))
    ctx.send_event(target, "e", data="at the end")
    return "sent"


@scenario
def event_from_an_orchestration(t):
    target = t.start(events_many, 4)
    assert t.complete(events_sender, target) == "sent"
    assert t.wait(target, "COMPLETED").get_output() == [0, 1, 2, "at the end"]
