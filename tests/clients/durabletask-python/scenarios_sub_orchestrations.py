"""Orchestrations that call orchestrations: ids, parents, nesting, failures, many at once."""

from durabletask import task

from harness import Calls, activity, orchestrator, scenario

calls = Calls()


@activity
def sub_leaf(context, number: int):
    calls.add(number)
    return number * 10


@orchestrator
def sub_child(ctx, number: int):
    result = yield ctx.call_activity(sub_leaf, input=number)
    return {"of": ctx.parent_instance_id, "me": ctx.instance_id, "result": result}


@orchestrator
def sub_parent(ctx, own_id: str | None):
    answer = yield ctx.call_sub_orchestrator(sub_child, input=4, instance_id=own_id)
    return [ctx.parent_instance_id, answer]


@scenario
def sub_orchestration(t):
    parent = t.start(sub_parent)
    _, answer = t.wait(parent, "COMPLETED").get_output()
    assert answer["result"] == 40, answer
    child = t.client.get_orchestration_state(answer["me"])
    assert child is not None and child.runtime_status.name == "COMPLETED" and child.name == "sub_child"


@scenario
def sub_orchestration_knows_its_parent(t):
    parent = t.start(sub_parent)
    nobody, answer = t.wait(parent, "COMPLETED").get_output()
    assert nobody is None and answer["of"] == parent, (nobody, answer)
    started = [one for one in t.client.get_orchestration_history(answer["me"]) if hasattr(one, "parent_instance")]
    assert started[0].parent_instance.orchestration_instance.instance_id == parent, started
    assert started[0].parent_instance.task_scheduled_id == 1, started


@scenario
def sub_orchestration_with_its_own_id(t):
    own = t.id("child")
    assert t.complete(sub_parent, own)[1]["me"] == own
    assert t.client.get_orchestration_state(own).get_output()["result"] == 40


@orchestrator
def sub_tree(ctx, depth: int):
    if depth == 0:
        return (yield ctx.call_activity(sub_leaf, input=depth + 1))
    branches = [ctx.call_sub_orchestrator(sub_tree, input=depth - 1) for _ in range(3)]
    return sum((yield task.when_all(branches)))


@scenario
def sub_orchestrations_nested(t):
    assert t.complete(sub_tree, 3) == 27 * 10


@orchestrator
def sub_many(ctx, count: int):
    children = [ctx.call_sub_orchestrator("sub_child", input=1000 + number) for number in range(count)]
    answers = yield task.when_all(children)
    return [answer["result"] for answer in answers]


@scenario
def sub_orchestrations_fanned_out(t):
    assert t.complete(sub_many, 20) == [(1000 + number) * 10 for number in range(20)]
    assert [calls.of(1000 + number) for number in range(20)] == [1] * 20


@orchestrator
def sub_failing(_ctx, reason: str):
    raise ValueError(reason)


@orchestrator
def sub_catching(ctx, reason: str):
    try:
        yield ctx.call_sub_orchestrator(sub_failing, input=reason)
    except task.TaskFailedError as error:
        return [error.details.error_type, error.details.message, str(error)]


@orchestrator
def sub_not_catching(ctx, reason: str):
    yield ctx.call_sub_orchestrator(sub_failing, input=reason)


@scenario
def sub_orchestration_that_fails(t):
    _, message, text = t.complete(sub_catching, "no paper")
    assert message == "no paper", message
    assert text == "Sub-orchestration task #1 failed: no paper", text
    failure = t.wait(t.start(sub_not_catching, "no ink"), "FAILED").failure_details
    assert failure.message == "Sub-orchestration task #1 failed: no ink", failure
    assert failure.error_type.endswith("TaskFailedError") and failure.inner_failure.message == "no ink", failure


@scenario
def failure_of_a_sub_orchestration_is_its_own(t):
    assert t.complete(sub_catching, "no glue")[0] == "builtins.ValueError"
    inner = t.wait(t.start(sub_not_catching, "no string"), "FAILED").failure_details.inner_failure
    assert inner.error_type == "builtins.ValueError" and "sub_failing" in inner.stack_trace, inner


@orchestrator
def sub_waiting(ctx, _):
    return (yield ctx.wait_for_external_event("go"))


@orchestrator
def sub_of_waiting(ctx, child: str):
    try:
        return (yield ctx.call_sub_orchestrator(sub_waiting, instance_id=child))
    except task.TaskFailedError as error:
        return f"failed: {error.details.error_type}"


@scenario
def sub_orchestration_gets_an_event(t):
    child = t.id("child")
    parent = t.start(sub_of_waiting, child)
    t.until(lambda: t.status(child) == "RUNNING", "the child runs")
    t.client.raise_orchestration_event(child, "go", data="gone")
    assert t.wait(parent, "COMPLETED").get_output() == "gone"


@scenario
def sub_orchestration_that_is_terminated(t):
    child = t.id("child")
    parent = t.start(sub_of_waiting, child)
    t.until(lambda: t.status(child) == "RUNNING", "the child runs")
    t.client.terminate_orchestration(child)
    assert t.wait(parent, "COMPLETED").get_output().startswith("failed: ")
