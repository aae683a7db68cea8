"""What goes wrong in activities and orchestrations, and what a client sees of it."""

from durabletask import task
from durabletask.worker import ActivityWorkItemFilter, OrchestrationWorkItemFilter, WorkItemFilters

from harness import activity, named, orchestrator, scenario


@activity
def failures_raise(_, reason: str):
    raise ValueError(reason)


@activity
def failures_raise_nested(_, reason: str):
    try:
        raise KeyError("the cause")
    except KeyError as cause:
        raise RuntimeError(reason) from cause


@activity
def failures_raise_nothing(_ctx, _value):
    raise ValueError()


@orchestrator
def failures_uncaught(ctx, reason: str):
    yield ctx.call_activity(failures_raise, input=reason)


@scenario
def activity_that_fails(t):
    instance = t.start(failures_uncaught, "boom ✗")
    state = t.wait(instance, "FAILED")
    failure = state.failure_details
    assert failure.error_type.endswith("TaskFailedError"), failure
    assert failure.message == f"{instance}: Activity task #1 failed: boom ✗", failure
    inner = failure.inner_failure
    assert (inner.error_type, inner.message) == ("builtins.ValueError", "boom ✗"), inner
    assert "failures_raise" in inner.stack_trace and inner.inner_failure is None, inner
    assert state.serialized_output is None, state.serialized_output


@orchestrator
def failures_nested(ctx, _):
    try:
        yield ctx.call_activity(failures_raise_nested, input="outer")
    except task.TaskFailedError as error:
        inner = error.details.inner_failure
        return [error.details.error_type, error.details.message, inner.error_type, inner.message]


@scenario
def failure_with_its_cause(t):
    assert t.complete(failures_nested) == ["builtins.RuntimeError", "outer", "builtins.KeyError", "'the cause'"]


@orchestrator
def failures_without_message(ctx, _):
    try:
        yield ctx.call_activity(failures_raise_nothing)
    except task.TaskFailedError as error:
        return ["failed", error.details.error_type, error.details.message]
    return ["succeeded"]


@scenario
def failure_without_a_message(t):
    assert t.complete(failures_without_message) == ["failed", "builtins.ValueError", ""]


@orchestrator
def failures_compensate(ctx, _):
    done = []
    try:
        yield ctx.call_activity(failures_raise, input="x")
    except task.TaskFailedError:
        for number in range(2):
            done.append((yield ctx.call_activity("plus_one", input=number)))
    return done


@scenario
def failure_that_is_made_good(t):
    assert t.complete(failures_compensate) == [1, 2]


@orchestrator
def failures_own(_ctx, reason: str):
    raise RuntimeError(reason)


@scenario
def orchestration_that_fails(t):
    failure = t.wait(t.start(failures_own, "on its own"), "FAILED").failure_details
    assert (failure.error_type, failure.message) == ("builtins.RuntimeError", "on its own"), failure
    assert "failures_own" in failure.stack_trace, failure


@orchestrator
def failures_no_json(_ctx, _):
    return {"a set": {1, 2}}


@scenario
def output_that_is_no_json(t):
    assert t.wait(t.start(failures_no_json), "FAILED").failure_details.message


def _calls_missing(ctx, name: str):
    yield ctx.call_activity(name)


@scenario
def functions_that_nobody_registered(t):
    missing, caller = t.id("missing"), t.id("caller")
    # The filters make the server believe that this worker serves what it does not.
    t.worker(
        orchestrators=[named(_calls_missing, caller)],
        filters=WorkItemFilters(
            orchestrations=[OrchestrationWorkItemFilter(missing), OrchestrationWorkItemFilter(caller)],
            activities=[ActivityWorkItemFilter(missing)],
        ),
    )
    failure = t.wait(t.start(missing), "FAILED").failure_details
    assert "NotRegistered" in failure.error_type and missing in failure.message, failure
    failure = t.wait(t.start(caller, missing), "FAILED").failure_details
    assert "NotRegistered" in failure.inner_failure.error_type, failure


class Properties:
    """Gives each exception the same properties."""

    def get_exception_properties(self, _error):
        return {"code": 42, "hints": ["a", None, {"b": True}]}


def _raises(_ctx, _):
    raise LookupError("with properties")


@scenario
def failure_with_properties(t):
    caller, failing = t.id("caller"), t.id("failing")
    t.worker(
        orchestrators=[named(_calls_missing, caller)],
        activities=[named(_raises, failing)],
        exception_properties_provider=Properties(),
    )
    inner = t.wait(t.start(caller, failing), "FAILED").failure_details.inner_failure
    assert inner.message == "with properties", inner
    assert inner.properties == {"code": 42.0, "hints": ["a", None, {"b": True}]}, inner.properties
