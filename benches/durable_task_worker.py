"""Chains of five trivial activities with a stock worker and client of the Durable Task SDK: ADDRESS KEY COUNT."""

import sys

from durabletask.client import TaskHubGrpcClient
from durabletask.worker import TaskHubGrpcWorker

address, key, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
metadata = [("authorization", f"Bearer {key}")]


def add(_ctx, number: int) -> int:
    """One more."""
    return number + 1


def chain(ctx, number: int):
    """Five more."""
    for _ in range(5):
        number = yield ctx.call_activity(add, input=number)
    return number


with TaskHubGrpcWorker(host_address=address, metadata=metadata) as worker:
    worker.add_orchestrator(chain)
    worker.add_activity(add)
    worker.start()
    client = TaskHubGrpcClient(host_address=address, metadata=metadata)
    instances = [client.schedule_new_orchestration(chain, input=0) for _ in range(count)]
    for instance in instances:
        state = client.wait_for_orchestration_completion(instance, timeout=300)
        assert state.serialized_output == "5", state
