"""The registry of scenarios and of the functions that the shared workers serve, and what each scenario is given."""

import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
from durabletask.client import OrchestrationState, OrchestrationStatus, TaskHubGrpcClient
from durabletask.worker import TaskHubGrpcWorker, VersioningOptions, WorkItemFilters

from connection import Server

# No scenario waits longer than this for any one thing.
# Long enough for a machine of which others take a third, and for work that a worker took which was just being stopped:
# it comes back when that one's stream has ended.
PATIENCE = 90.0


@dataclass(frozen=True)
class Scenario:
    """One thing that is shown, by a function that fails with an exception."""

    name: str
    run: Callable[["Context"], None]
    alone: bool


SCENARIOS: dict[str, Scenario] = {}
ORCHESTRATORS: list[Callable] = []
ACTIVITIES: list[Callable] = []
ENTITIES: list[Any] = []


def scenario(function: Callable | None = None, *, alone: bool = False):
    """Registers a scenario; one that is `alone` touches instances of others and runs when they are through."""

    def register(function: Callable) -> Callable:
        name = function.__name__
        assert name not in SCENARIOS, f"two scenarios are called {name}"
        SCENARIOS[name] = Scenario(name, function, alone)
        return function

    return register(function) if function else register


def orchestrator(function: Callable) -> Callable:
    """Registers an orchestrator with the shared workers, under its own name."""
    ORCHESTRATORS.append(function)
    return function


def activity(function: Callable) -> Callable:
    """Registers an activity with the shared workers, under its own name."""
    ACTIVITIES.append(function)
    return function


def entity(function: Any) -> Any:
    """Registers an entity with the shared workers, under its own name."""
    ENTITIES.append(function)
    return function


class Calls:
    """Counts what ran, by a key; the shared workers run in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Any, int] = defaultdict(int)

    def add(self, key: Any) -> int:
        """Counts one more and tells how many that makes."""
        with self._lock:
            self._counts[key] += 1
            return self._counts[key]

    def of(self, key: Any) -> int:
        """How often `key` was counted."""
        with self._lock:
            return self._counts[key]


def stop_workers(workers: Iterable[Any], patience: float = PATIENCE) -> bool:
    """Stops workers side by side; false when one is not done in time, for which the SDK itself has no bound."""
    threads = [threading.Thread(target=worker.stop, daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(timeout=max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def named(function: Callable, name: str) -> Callable:
    """The same function under another name: the SDK registers functions by their `__name__`."""

    def renamed(context, value):
        return function(context, value)

    renamed.__name__ = name
    return renamed


def start_worker(
    server: Server,
    orchestrators: Iterable[Callable] = (),
    activities: Iterable[Callable] = (),
    entities: Iterable[Any] = (),
    filters: WorkItemFilters | bool = True,
    versioning: VersioningOptions | None = None,
    **options: Any,
) -> TaskHubGrpcWorker:
    """A running worker. Unless told otherwise it takes only what it serves, so that it does not disturb others."""
    worker = server.worker(**options)
    for function in orchestrators:
        worker.add_orchestrator(function)
    for function in activities:
        worker.add_activity(function)
    for function in entities:
        worker.add_entity(function)
    if versioning:
        worker.use_versioning(versioning)
    if filters is True:
        worker.use_work_item_filters()
    elif filters:
        worker.use_work_item_filters(filters)
    worker.start()
    return worker


@dataclass
class Context:
    """What a scenario works with: a client of its own, ids that nobody else has, bounded waits."""

    server: Server
    name: str
    client: TaskHubGrpcClient
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:10])
    opened: list[Any] = field(default_factory=list)

    def id(self, label: str = "x") -> str:
        """An instance id, entity key or name that only this run of this scenario has."""
        return f"{self.name}-{label}-{self.run}"

    def worker(self, **options: Any) -> TaskHubGrpcWorker:
        """A worker of this scenario's own; it is stopped when the suite ends."""
        worker = start_worker(self.server, **options)
        self.opened.append(worker)
        return worker

    def start(self, function: Callable | str, value: Any = None, **options: Any) -> str:
        """Starts an instance and tells its id."""
        options.setdefault("instance_id", self.id(uuid.uuid4().hex[:6]))
        return self.client.schedule_new_orchestration(function, input=value, **options)

    def wait(self, instance: str, status: str | None = None, timeout: float = PATIENCE) -> OrchestrationState:
        """Waits for the end of an instance, which shall be of this status."""
        state = self.client.wait_for_orchestration_completion(instance, timeout=timeout)
        assert state is not None, f"{instance} is not there"
        if status is not None:
            assert state.runtime_status.name == status, f"{instance} is {describe(state)}"
        return state

    def complete(self, function: Callable | str, value: Any = None, **options: Any) -> Any:
        """Runs an instance, which shall complete, and gives its output."""
        return self.wait(self.start(function, value, **options), "COMPLETED").get_output()

    def status(self, instance: str) -> str | None:
        """The status of an instance now, None when there is none."""
        state = self.client.get_orchestration_state(instance)
        return state.runtime_status.name if state else None

    def reaches(self, instance: str, status: str) -> None:
        """Waits until an instance has a status which is not its end."""
        self.until(lambda: self.status(instance) == status, f"{instance} is {status}")

    def running(self, instance: str) -> None:
        """Waits until the first turn of an instance is done."""
        state = self.client.wait_for_orchestration_start(instance, timeout=PATIENCE)
        assert state is not None and state.runtime_status == OrchestrationStatus.RUNNING, describe(state)

    def until(self, predicate: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
        """Polls until the predicate gives something, and gives that."""
        deadline = time.monotonic() + timeout
        while True:
            found = predicate()
            if found:
                return found
            assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
            time.sleep(0.05)


def describe(state: OrchestrationState | None) -> str:
    """A state in one line, for a failed assertion."""
    if state is None:
        return "not there"
    return f"{state.runtime_status.name}, output {state.serialized_output!r}, failure {state.failure_details}"


def refused(code: grpc.StatusCode, call: Callable[[], Any]) -> None:
    """Asserts that a call is answered with this gRPC status."""
    try:
        answer = call()
    except grpc.RpcError as error:
        assert error.code() == code, f"{error.code()} ({error.details()}) instead of {code}"
    else:
        raise AssertionError(f"answered {answer!r} instead of {code}")
