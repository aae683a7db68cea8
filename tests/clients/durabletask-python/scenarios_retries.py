"""Retry policies. The SDK counts attempts and sets timers, and schedules each attempt under the id of the first one."""

import time
from collections import Counter, defaultdict
from datetime import timedelta

from durabletask import task

from harness import Calls, activity, orchestrator, scenario

calls = Calls()
times: dict[str, list[float]] = defaultdict(list)


def policy(attempts: int, first: float = 0.2, **options) -> task.RetryPolicy:
    """A retry policy in seconds."""
    return task.RetryPolicy(
        first_retry_interval=timedelta(seconds=first), max_number_of_attempts=attempts, **options
    )


@activity
def retries_flaky(context, succeed_at: int):
    times[context.orchestration_id].append(time.monotonic())
    attempt = calls.add(context.orchestration_id)
    if attempt < succeed_at:
        raise RuntimeError(f"attempt {attempt}")
    return attempt


@orchestrator
def retries_activity(ctx, succeed_at: int):
    return (yield ctx.call_activity(retries_flaky, input=succeed_at, retry_policy=policy(3, backoff_coefficient=3)))


@scenario
def retry_of_an_activity_to_success(t):
    instance = t.start(retries_activity, 3)
    assert t.wait(instance, "COMPLETED").get_output() == 3
    first, second, third = times[instance]
    assert second - first >= 0.19 and third - second >= 0.59, times[instance]
    history = t.client.get_orchestration_history(instance)
    kinds = Counter(type(event).__name__ for event in history)
    assert kinds["TaskScheduledEvent"] == 3 and kinds["TaskFailedEvent"] == 2, kinds
    assert kinds["TaskCompletedEvent"] == 1 and kinds["TimerFiredEvent"] == 2, kinds


@scenario
def retry_of_an_activity_to_failure(t):
    instance = t.start(retries_activity, 99)
    failure = t.wait(instance, "FAILED").failure_details
    assert calls.of(instance) == 3
    assert failure.message == f"{instance}: Activity task #1 failed: attempt 3", failure


@orchestrator
def retries_in_parallel(ctx, _):
    retry = policy(4, first=0.1)
    return (yield task.when_all([ctx.call_activity(retries_by_key, input=n, retry_policy=retry) for n in range(5)]))


@activity
def retries_by_key(context, key: int):
    attempt = calls.add((context.orchestration_id, key))
    if attempt <= key % 3:
        raise RuntimeError(f"{key} fails at attempt {attempt}")
    return [key, attempt]


@scenario
def retries_side_by_side(t):
    assert t.complete(retries_in_parallel) == [[key, key % 3 + 1] for key in range(5)]


@orchestrator
def retries_until(ctx, _):
    retry = policy(10, first=0.5, backoff_coefficient=10, retry_timeout=timedelta(seconds=5))
    yield ctx.call_activity(retries_flaky, input=99, retry_policy=retry)


@scenario
def retry_until_a_timeout(t):
    instance = t.start(retries_until)
    failure = t.wait(instance, "FAILED").failure_details
    assert "Activity task #1 failed: attempt" in failure.message, failure
    # The SDK looks at the clock again at each replay: when the second timer fires, at 5.5 s, the time is up. The first
    # has ten times its time to be seen.
    assert calls.of(instance) == 2, calls.of(instance)


@orchestrator
def retries_child(ctx, plan: dict):
    if not ctx.is_replaying and calls.add((plan["key"], "child")) < plan["succeed_at"]:
        raise RuntimeError("the child fails")
    return f"attempt {calls.of((plan['key'], 'child'))}"


@orchestrator
def retries_sub(ctx, plan: dict):
    return (yield ctx.call_sub_orchestrator(retries_child, input=plan, retry_policy=policy(3)))


@scenario
def retry_of_a_sub_orchestration_to_success(t):
    assert t.complete(retries_sub, {"key": t.id(), "succeed_at": 3}) == "attempt 3"


@orchestrator
def retries_both_child(ctx, key: str):
    if not ctx.is_replaying:
        calls.add((key, "child"))
    yield ctx.call_activity(retries_always, input=key, retry_policy=policy(3, first=0.1))


@activity
def retries_always(_, key: str):
    calls.add((key, "activity"))
    raise RuntimeError("no way")


@orchestrator
def retries_both(ctx, key: str):
    yield ctx.call_sub_orchestrator(retries_both_child, input=key, retry_policy=policy(3, first=0.1))


@scenario
def retry_of_a_sub_orchestration_to_failure(t):
    key = t.id()
    failure = t.wait(t.start(retries_both, key), "FAILED").failure_details
    assert failure.message.startswith("Sub-orchestration task #1 failed:"), failure
    assert failure.message.endswith("Activity task #1 failed: no way"), failure
    # The child's first turn is counted at each of its three attempts, and each of these tries the activity three times.
    assert calls.of((key, "activity")) == 9, calls.of((key, "activity"))
    assert calls.of((key, "child")) == 3, calls.of((key, "child"))
