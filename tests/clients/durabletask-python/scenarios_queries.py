"""Finding instances: by status, time, prefix and completion, in pages; reading a history."""

import time
from datetime import datetime, timedelta, timezone

import grpc
from durabletask import task
from durabletask.client import OrchestrationQuery, OrchestrationStatus

from harness import orchestrator, refused, scenario


def now() -> datetime:
    """The time, which is that of the server too: both run on one machine."""
    return datetime.now(timezone.utc)


@orchestrator
def queries_flow(ctx, wish: str):
    ctx.set_custom_status(f"asked to {wish}")
    if wish == "fail":
        raise ValueError("as asked")
    if wish == "wait":
        return (yield ctx.wait_for_external_event("go"))
    return f"did {wish}"


def found(t, **query) -> list:
    """What a query finds, by the last part of the ids, sorted."""
    states = t.client.get_all_orchestration_states(OrchestrationQuery(**query))
    ids = [state.instance_id for state in states]
    assert len(ids) == len(set(ids)), f"twice in one query: {ids}"
    return sorted(one.rsplit("-", 1)[1] for one in ids)


@scenario
def query_by_status_time_and_prefix(t):
    prefix = t.id("all")
    before = now()
    ids = {wish: t.start(queries_flow, wish, instance_id=f"{prefix}-{wish}") for wish in ("fail", "wait", "end")}
    t.wait(ids["fail"], "FAILED")
    t.wait(ids["end"], "COMPLETED")
    t.running(ids["wait"])
    time.sleep(0.05)
    middle = now()
    time.sleep(0.05)
    t.wait(t.start(queries_flow, "last", instance_id=f"{prefix}-last"), "COMPLETED")
    status = OrchestrationStatus
    everything = ["end", "fail", "last", "wait"]
    assert found(t, instance_id_prefix=prefix) == everything
    assert found(t, instance_id_prefix=f"{prefix}-l") == ["last"]
    assert found(t, instance_id_prefix=f"{prefix}-nothing") == []
    assert found(t, instance_id_prefix=prefix, runtime_status=[status.COMPLETED]) == ["end", "last"]
    some = [status.FAILED, status.RUNNING, status.SUSPENDED]
    assert found(t, instance_id_prefix=prefix, runtime_status=some) == ["fail", "wait"]
    assert found(t, instance_id_prefix=prefix, created_time_from=middle) == ["last"]
    assert found(t, instance_id_prefix=prefix, created_time_to=middle) == ["end", "fail", "wait"]
    assert found(t, instance_id_prefix=prefix, created_time_from=before, created_time_to=now()) == everything
    assert found(t, instance_id_prefix=prefix, created_time_to=before) == []
    t.client.terminate_orchestration(ids["wait"])
    t.wait(ids["wait"], "TERMINATED")
    assert found(t, instance_id_prefix=prefix, runtime_status=[status.TERMINATED]) == ["wait"]


@scenario
def query_with_and_without_payloads(t):
    prefix = t.id("one")
    t.wait(t.start(queries_flow, "show", instance_id=f"{prefix}-a"), "COMPLETED")
    t.wait(t.start(queries_flow, "fail", instance_id=f"{prefix}-b"), "FAILED")
    query = OrchestrationQuery(instance_id_prefix=prefix, fetch_inputs_and_outputs=True)
    shown, failed = sorted(t.client.get_all_orchestration_states(query), key=lambda state: state.instance_id)
    assert (shown.get_input(), shown.get_output()) == ("show", "did show"), shown
    assert shown.get_custom_status() == "asked to show", shown
    assert failed.failure_details.message == "as asked", failed
    plain = t.client.get_all_orchestration_states(OrchestrationQuery(instance_id_prefix=f"{prefix}-a"))[0]
    assert plain.name == "queries_flow" and plain.runtime_status == OrchestrationStatus.COMPLETED
    assert plain.serialized_input is None and plain.serialized_output is None, plain
    bare = t.client.get_orchestration_state(f"{prefix}-a", fetch_payloads=False)
    assert bare.serialized_input is None and bare.serialized_output is None, bare


@scenario
def query_in_pages(t):
    prefix = t.id("page")
    ids = [t.start(queries_flow, "end", instance_id=f"{prefix}-{number:02}") for number in range(25)]
    for instance in ids:
        t.wait(instance, "COMPLETED")
    wanted = [f"{number:02}" for number in range(25)]
    for size in (1, 7, 25, 100):
        assert found(t, instance_id_prefix=prefix, max_instance_count=size) == wanted, f"pages of {size}"


@scenario
def list_ids_by_completion(t):
    began = now()
    ids = []
    for number in range(7):
        ids.append(t.start(queries_flow, "fail" if number == 3 else "end"))
        t.client.wait_for_orchestration_completion(ids[-1], timeout=30)
    running = t.start(queries_flow, "wait")
    t.running(running)
    time.sleep(0.05)
    ended = now()
    seen: list[str] = []
    token = None
    while True:
        page = t.client.list_instance_ids(
            completed_time_from=began, completed_time_to=ended, page_size=3, continuation_token=token
        )
        assert len(page.items) <= 3
        seen += page.items
        token = page.continuation_token
        if not token:
            break
    assert len(seen) == len(set(seen)), "an id came twice"
    assert [one for one in seen if one in ids] == ids, "not in the order in which they completed"
    assert running not in seen
    failed = t.client.list_instance_ids([OrchestrationStatus.FAILED], began, ended, page_size=1000)
    assert [one for one in failed.items if one in ids] == [ids[3]]
    later = t.client.list_instance_ids(completed_time_from=ended + timedelta(hours=1))
    assert later.items == [] and not later.continuation_token, later
    t.client.terminate_orchestration(running)


@orchestrator
def queries_everything(ctx, _):
    first = yield ctx.call_activity("plus_one", input=1)
    yield ctx.create_timer(timedelta(seconds=0.05))
    child = yield ctx.call_sub_orchestrator("queries_flow", input="end")
    event = yield ctx.wait_for_external_event("Mixed Case")
    try:
        yield ctx.call_activity("failures_raise", input="in the history")
    except task.TaskFailedError:
        pass
    ctx.send_event(ctx.instance_id + "-nobody", "lost", data=1)
    return [first, child, event]


@scenario
def history_of_an_instance(t):
    instance = t.start(queries_everything, {"in": 1})
    t.client.raise_orchestration_event(instance, "Mixed Case", data={"e": 1})
    t.wait(instance, "COMPLETED")
    history = t.client.get_orchestration_history(instance)
    kinds = [type(event).__name__.removesuffix("Event") for event in history]
    only = {kind: event for kind, event in zip(kinds, history, strict=True)}
    assert kinds[0] == "OrchestratorStarted" and kinds[-1] in ("ExecutionCompleted", "OrchestratorCompleted"), kinds
    assert kinds.count("ExecutionStarted") == 1 and kinds.count("ExecutionCompleted") == 1, kinds
    assert kinds.count("TaskScheduled") == 2 and kinds.count("TaskFailed") == 1, kinds
    started = only["ExecutionStarted"]
    assert (started.name, started.input) == ("queries_everything", '{"in": 1}'), started
    assert started.orchestration_instance.instance_id == instance
    assert only["TaskCompleted"].result == "2" and only["TaskCompleted"].task_scheduled_id == 1
    assert only["TimerFired"].timer_id == only["TimerCreated"].event_id == 2
    assert only["SubOrchestrationInstanceCreated"].name == "queries_flow"
    assert only["SubOrchestrationInstanceCreated"].instance_id == f"{instance}:0003"
    assert only["SubOrchestrationInstanceCompleted"].result == '"did end"'
    assert (only["EventRaised"].name, only["EventRaised"].input) == ("Mixed Case", '{"e": 1}'), only["EventRaised"]
    assert only["TaskFailed"].failure_details.message == "in the history", only["TaskFailed"]
    assert only["EventSent"].instance_id == f"{instance}-nobody", only["EventSent"]
    assert only["ExecutionCompleted"].result, only["ExecutionCompleted"]
    times = [event.timestamp for event in history if type(event).__name__ == "OrchestratorStartedEvent"]
    assert times == sorted(times) and times[0] > datetime(2020, 1, 1, tzinfo=timezone.utc), times


@scenario
def history_has_times_and_the_execution(t):
    began = now() - timedelta(seconds=1)
    instance = t.start("basics_chain", 1)
    t.wait(instance, "COMPLETED")
    history = t.client.get_orchestration_history(instance)
    for event in history:
        assert began <= event.timestamp <= now(), event
    started = next(event for event in history if type(event).__name__ == "ExecutionStartedEvent")
    assert started.orchestration_instance.execution_id, "an execution has an id"


@scenario
def history_that_is_long(t):
    instance = t.start("basics_fan_out", 150)
    t.wait(instance, "COMPLETED")
    kinds = [type(event).__name__ for event in t.client.get_orchestration_history(instance)]
    assert kinds.count("TaskScheduledEvent") == kinds.count("TaskCompletedEvent") == 150, len(kinds)


@scenario
def history_of_nobody(t):
    # A stream that ends at once and NOT_FOUND are both in use.
    try:
        assert t.client.get_orchestration_history(t.id("nobody")) == []
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    refused(grpc.StatusCode.NOT_FOUND, lambda: t.client.raise_orchestration_event(t.id("nobody"), "e"))
