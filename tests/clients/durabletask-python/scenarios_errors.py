"""What does not exist, what takes too long, and clients that may not."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from durabletask.client import OrchestrationQuery, TaskHubGrpcClient
from durabletask.entities import EntityInstanceId

from connection import logger
from harness import orchestrator, refused, scenario


@orchestrator
def errors_waits(ctx, _):
    yield ctx.wait_for_external_event("go")


@scenario
def nobody(t):
    unknown = t.id("nobody")
    assert t.client.get_orchestration_state(unknown) is None
    assert t.client.get_entity(EntityInstanceId("errors_box", unknown)) is None
    refused(grpc.StatusCode.NOT_FOUND, lambda: t.client.raise_orchestration_event(unknown, "e"))
    refused(grpc.StatusCode.NOT_FOUND, lambda: t.client.suspend_orchestration(unknown))
    refused(grpc.StatusCode.NOT_FOUND, lambda: t.client.resume_orchestration(unknown))
    assert t.client.get_all_orchestration_states(OrchestrationQuery(instance_id_prefix=unknown)) == []


@scenario
def terminating_nobody(t):
    # Both an answer and NOT_FOUND are in use; neither makes an instance of it.
    unknown = t.id("nobody")
    try:
        t.client.terminate_orchestration(unknown)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    assert t.client.get_orchestration_state(unknown) is None


@scenario
def waiting_for_nobody(t):
    # A server may wait whether it is still to come, or say at once that it is not there.
    for wait in (t.client.wait_for_orchestration_start, t.client.wait_for_orchestration_completion):
        began = time.monotonic()
        try:
            assert wait(t.id("nobody"), timeout=1) is None
        except TimeoutError:
            pass
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error
        assert time.monotonic() - began < 5


@scenario
def waiting_too_long(t):
    instance = t.start(errors_waits)
    t.running(instance)
    pending = t.start(t.id("nobody"))
    for wait, one in [
        (t.client.wait_for_orchestration_completion, instance),
        (t.client.wait_for_orchestration_start, pending),
    ]:
        began = time.monotonic()
        try:
            raise AssertionError(f"it answered {wait(one, timeout=1)}")
        except TimeoutError:
            assert 0.9 <= time.monotonic() - began < 3
    # Whoever gave up is not in the way of the next one.
    t.client.raise_orchestration_event(instance, "go")
    t.wait(instance, "COMPLETED")


@scenario
def many_waiting_for_one(t):
    instance = t.start(errors_waits)
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(t.wait, instance, "COMPLETED") for _ in range(60)]
        t.running(instance)
        t.client.raise_orchestration_event(instance, "go")
        assert {one.result().instance_id for one in waiting} == {instance}


@scenario
def start_without_a_name(t):
    try:
        instance = t.start("")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    else:
        t.client.terminate_orchestration(instance)


@scenario
def wrong_key(t):
    if not t.server.key:
        return
    for metadata in (None, [("authorization", "Bearer wrong")], [("authorization", t.server.key)]):
        with TaskHubGrpcClient(host_address=t.server.address, metadata=metadata, logger=logger) as client:
            refused(grpc.StatusCode.UNAUTHENTICATED, lambda one=client: one.get_orchestration_state("x"))
            refused(grpc.StatusCode.UNAUTHENTICATED, lambda one=client: one.schedule_new_orchestration("errors_waits"))
