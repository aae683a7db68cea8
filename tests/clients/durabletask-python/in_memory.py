"""The backend for unit tests that the SDK itself brings, as a server: `python in_memory.py PORT [KEY]`.

The suite is tried out against it, `suite.py --in-memory`, so that what fails against a server fails because of it.
What this backend cannot do is left out then, and stands below with the reason.
"""

import sys
import threading
from concurrent import futures

import grpc
from durabletask.testing import in_memory_backend

CANNOT = {
    "scheduled_start": "starts at once, whatever the start time says",
    "tags_of_an_activity": "the history loses the tags of an activity",
    "failure_without_a_message": "takes a failure with an empty message for a success",
    "failure_of_a_sub_orchestration_is_its_own": "the parent is told another type of error, without its stack",
    "history_has_times_and_the_execution": "events have no time, executions no id",
    "sub_orchestration_knows_its_parent": "tells a child nothing about its parent",
    "suspended_in_the_turn_that_schedules": "gives work to a suspended instance, which then schedules twice",
    "events_while_suspended_keep_their_order": "gives work to a suspended instance, which then schedules twice",
    "work_is_spread_over_workers": "gives work to whoever asks first",
    "timer_of_an_old_generation": "a timer fires in the generation after its own",
    "result_for_an_old_generation": "a result reaches the generation after its own",
    "result_for_what_was_replaced": "a result reaches the instance that has taken the place of its own",
    "terminate_in_the_middle_of_work": "gives work to an instance that has ended",
    "terminate_recursively": "terminates no children",
    "terminate_what_no_worker_has_begun": "needs a worker to terminate an instance",
    "purge_with_children": "purges no children",
    "locked_entity_lets_others_wait": "a lock keeps out locks only, not calls and signals",
    "locks_are_released_by_termination": "grants a lock to an instance that has ended",
    "worker_killed_in_an_activity": "an activity is lost with its worker",
    "one_of_two_workers_killed": "an activity is lost with its worker",
}


class KeyRequired(grpc.ServerInterceptor):
    """Refuses calls without the key."""

    def __init__(self, key: str) -> None:
        self.wanted = ("authorization", f"Bearer {key}")

    def intercept_service(self, continuation, call):
        """Checks the metadata of every call before its handler sees it."""
        if self.wanted in call.invocation_metadata:
            return continuation(call)
        handler = continuation(call)

        def refuse(_, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the key is missing or wrong")

        make = grpc.unary_unary_rpc_method_handler
        if handler.response_streaming:
            make = grpc.unary_stream_rpc_method_handler
        return make(refuse, handler.request_deserializer, handler.response_serializer)


class Backend(in_memory_backend.InMemoryOrchestrationBackend):
    """The backend, for calls without a deadline too: those of the SDK for JavaScript have none."""

    def _wait_for_state(self, instance_id, predicate, timeout):
        return super()._wait_for_state(instance_id, predicate, min(timeout or 30, 3600))


def serve(port: int, key: str | None) -> None:
    """Serves until the process is ended."""
    # Each waiting call and each worker keeps one of the backend's threads, of which it has but ten by itself.
    many, server = futures.ThreadPoolExecutor(700), grpc.server
    checks = [KeyRequired(key)] if key else []
    grpc.server = lambda _: server(many, interceptors=checks)
    Backend(max_history_size=1_000_000, port=port).start()
    print("serving", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
