"""Many instances at once."""

import time
from concurrent.futures import ThreadPoolExecutor

from harness import Calls, activity, orchestrator, scenario

calls = Calls()


@activity
def crowd_step(context, number: int):
    calls.add(context.orchestration_id)
    return number + 1


@orchestrator
def crowd_flow(ctx, number: int):
    return (yield ctx.call_activity(crowd_step, input=number))


@scenario(alone=True)
def five_hundred_at_once(t):
    with ThreadPoolExecutor(16) as pool:
        began = time.monotonic()
        ids = list(pool.map(lambda number: t.start(crowd_flow, number), range(500)))
        started = time.monotonic() - began
        outputs = list(pool.map(lambda instance: t.wait(instance, "COMPLETED").get_output(), ids))
    assert outputs == list(range(1, 501))
    assert all(calls.of(instance) == 1 for instance in ids), "an activity ran twice"
    assert started < 20, f"{started:.1f} s to start them"
