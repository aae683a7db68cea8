"""What the workloads of `crash.py` act with: a client that endures a server that is away, and the one who kills it."""

import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc
from durabletask.client import OrchestrationState
from durabletask.entities import EntityInstanceId

from connection import Server
from crash_effects import Effects

# How long anything may take, restarts of the server included.
PATIENCE = 90.0

# What a call meets when its server is killed, or is not there yet.
GONE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


_output = threading.Lock()


def say(text: str) -> None:
    """Prints a line, whole: whoever reads our output waits for one of them."""
    with _output:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


class World:
    """One run: ids that nobody else has, calls that are repeated until they are answered, kills."""

    def __init__(self, server: Server, effects: Effects) -> None:
        self.client = server.client()
        self.effects = effects
        self.run = uuid.uuid4().hex[:8]
        self.kills = 0
        # Held while a call is under way that must not be repeated, and while the server is away.
        self._gate = threading.Lock()

    def id(self, label: str) -> str:
        """An instance id or entity key of this run."""
        return f"crash-{self.run}-{label}-{uuid.uuid4().hex[:6]}"

    def kill(self) -> None:
        """Has the server killed and started again by whoever reads our output."""
        with self._gate:
            self.effects.killing()
            say("KILL")
            answer = sys.stdin.readline().strip()
            assert answer == "READY", f"{answer!r} instead of READY"
            self.effects.back()
            self.kills += 1

    def again(self, call: Callable[[], Any]) -> Any:
        """Repeats a call that may be repeated until it is answered."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                if error.code() not in GONE or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def once(self, call: Callable[[], Any]) -> Any:
        """A call that must not be repeated: the server is not killed meanwhile, so that its answer is certain."""
        with self._gate:
            # A connection that broke at the last kill is found to be broken by a call that does no harm.
            self.again(lambda: self.client.get_orchestration_state("crash-nobody"))
            return call()

    def start(self, function: Callable | str, value: Any = None, label: str = "x", **options: Any) -> str:
        """Starts an instance, once, whether or not the first attempt was answered."""
        instance = options.pop("instance_id", None) or self.id(label)

        def call() -> None:
            try:
                self.client.schedule_new_orchestration(function, input=value, instance_id=instance, **options)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.ALREADY_EXISTS:
                    raise

        self.again(call)
        return instance

    def wait(self, instance: str, status: str = "COMPLETED") -> OrchestrationState:
        """Waits for the end of an instance, over any number of restarts."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                state = self.client.wait_for_orchestration_completion(instance, timeout=5)
            except TimeoutError:
                continue
            except grpc.RpcError as error:
                if error.code() not in GONE:
                    raise
                time.sleep(0.1)
                continue
            assert state is not None, f"{instance} is lost"
            if state.runtime_status.name == "CONTINUED_AS_NEW":
                continue
            assert state.runtime_status.name == status, f"{instance}: {state.runtime_status} {state.failure_details}"
            return state
        raise AssertionError(f"{instance} does not end; it is {self.state(instance)}")

    def state(self, instance: str) -> OrchestrationState | None:
        """An instance as it is now."""
        return self.again(lambda: self.client.get_orchestration_state(instance))

    def status(self, instance: str) -> str | None:
        """The status of an instance now."""
        state = self.state(instance)
        return state.runtime_status.name if state else None

    def event(self, instance: str, name: str, data: Any) -> None:
        """Raises an event exactly once."""
        self.once(lambda: self.client.raise_orchestration_event(instance, name, data=data))

    def signal(self, entity: EntityInstanceId, operation: str, value: Any = None, **options: Any) -> None:
        """Signals an entity exactly once."""
        self.once(lambda: self.client.signal_entity(entity, operation, input=value, **options))

    def value(self, entity: EntityInstanceId) -> Any:
        """The state of an entity."""
        found = self.again(lambda: self.client.get_entity(entity))
        return found.get_typed_state() if found else None

    def until(self, predicate: Callable[[], Any], what: str) -> None:
        """Polls until the predicate holds."""
        deadline = time.monotonic() + PATIENCE
        while not predicate():
            assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
            time.sleep(0.02)
