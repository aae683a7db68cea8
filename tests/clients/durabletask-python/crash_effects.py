"""What activities did, kept in a file, and how often each was allowed to do it while a server is killed now and then.

An activity may run again when the server was killed after it was handed out and before its result was acknowledged.
Outside of that it runs once.
"""

import os
import threading
from collections import defaultdict

import grpc

Key = tuple[str, str]


class Effects(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Counts what activities did; as an interceptor of the worker's channel it sees what is handed out and which results
    are acknowledged."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._lock = threading.Lock()
        self._counts: dict[Key, int] = defaultdict(int)
        self._allowed: dict[Key, int] = defaultdict(lambda: 1)
        # Those that ran and whose result is not acknowledged, by what the worker sends with the result.
        self._in_flight: dict[tuple[str, int], Key] = {}
        # Those handed out that have not run: the worker keeps them waiting for a thread, on a busy machine for long.
        self._waiting: dict[tuple[str, int], int] = defaultdict(int)
        # How many of those were handed out by a server that was killed since: another one hands them out again.
        self._orphans: dict[tuple[str, int], int] = defaultdict(int)
        self._killing = False

    def did(self, context, step: str) -> None:
        """An activity did this step of its instance."""
        key = (context.orchestration_id, step)
        with self._lock:
            os.write(self._file, f"{key[0]} {key[1]}\n".encode())
            os.fsync(self._file)
            self._counts[key] += 1
            task = (context.orchestration_id, context.task_id)
            self._in_flight[task] = key
            self._waiting[task] = max(0, self._waiting[task] - 1)
            if self._orphans[task] > 0:
                self._orphans[task] -= 1
                self._allowed[key] += 1
            elif self._killing:
                self._allowed[key] += 1

    def count(self, instance: str, step: str | None = None) -> int:
        """How often a step was done; without one, how many different steps the instance did."""
        with self._lock:
            if step is not None:
                return self._counts.get((instance, step), 0)
            return sum(1 for one, _ in self._counts if one == instance)

    def killing(self) -> None:
        """The server is about to be killed: what is in flight now may run again."""
        with self._lock:
            self._killing = True
            for key in self._in_flight.values():
                self._allowed[key] += 1

    def back(self) -> None:
        """The server is there again."""
        with self._lock:
            self._killing = False
            for task, waiting in self._waiting.items():
                self._orphans[task] += waiting
            self._waiting.clear()

    def too_often(self) -> list[str]:
        """Steps that ran more often than the kills explain."""
        with self._lock:
            return [
                f"{instance} did {step} {count} times, {self._allowed[(instance, step)]} were allowed"
                for (instance, step), count in self._counts.items()
                if count > self._allowed[(instance, step)]
            ]

    def repeated(self) -> int:
        """How many steps ran more than once."""
        with self._lock:
            return sum(1 for count in self._counts.values() if count > 1)

    def _handed_out(self, item) -> None:
        if item.HasField("activityRequest"):
            request = item.activityRequest
            with self._lock:
                self._waiting[(request.orchestrationInstance.instanceId, request.taskId)] += 1

    def intercept_unary_stream(self, continuation, client_call_details, request):
        """Notes which activities the server hands out."""
        return Noted(continuation(client_call_details, request), self._handed_out)

    def intercept_unary_unary(self, continuation, client_call_details, request):
        """Notes which results of activities the server has acknowledged."""
        call = continuation(client_call_details, request)
        method = client_call_details.method
        name = method.decode() if isinstance(method, bytes) else method
        if name.endswith("/CompleteActivityTask") and call.exception() is None:
            with self._lock:
                # While it is being killed nobody can tell whether the answer was the last that it gave.
                if not self._killing:
                    self._in_flight.pop((request.instanceId, request.taskId), None)
        return call


class Noted:
    """A stream of which each message is noted."""

    def __init__(self, call, note) -> None:
        self._call = call
        self._note = note

    def __iter__(self):
        return self

    def __next__(self):
        message = next(self._call)
        self._note(message)
        return message

    def __getattr__(self, name):
        return getattr(self._call, name)
