"""How a client or a worker of the SDK reaches the server: address, key, task hub, and which of its two front ends."""

import logging
import time
from dataclasses import dataclass

from azure.core.credentials import AccessToken
from durabletask.azuremanaged.client import DurableTaskSchedulerClient
from durabletask.azuremanaged.worker import DurableTaskSchedulerWorker
from durabletask.client import AsyncTaskHubGrpcClient, TaskHubGrpcClient
from durabletask.grpc_options import GrpcChannelOptions, GrpcWorkerResiliencyOptions
from durabletask.worker import ConcurrencyOptions, TaskHubGrpcWorker

logger = logging.getLogger("suite.sdk")

# A worker tries again within a second, where the defaults of the SDK and of gRPC would let a test wait for minutes.
# `grpc.min_reconnect_backoff_ms` stays what it is (20 s): gRPC takes it for the time that one attempt to connect may
# last, so that with a tenth of a second every call of a starved machine fails.
EAGER = GrpcWorkerResiliencyOptions(
    reconnect_backoff_base_seconds=0.1, reconnect_backoff_cap_seconds=0.5, channel_recreate_failure_threshold=2
)
EAGER_CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class StaticKey:
    """An API key in the shape of a token credential: the managed clients send it as `authorization: Bearer`."""

    def __init__(self, key: str):
        self.key = key

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        return AccessToken(self.key, int(time.time()) + 24 * 3600)


@dataclass(frozen=True)
class Server:
    """One server and the way to it."""

    address: str
    key: str | None = None
    hub: str | None = None
    managed: bool = False

    def client(self, **options) -> TaskHubGrpcClient:
        """A client; `options` are those of the SDK's constructor."""
        options.setdefault("channel_options", GrpcChannelOptions(raw_options=EAGER_CHANNEL))
        if self.managed:
            return DurableTaskSchedulerClient(**self._managed(), logger=logger, **options)
        return TaskHubGrpcClient(**self._plain(), logger=logger, **options)

    def async_client(self) -> AsyncTaskHubGrpcClient:
        """A client for asyncio, which the plain package alone has in both front ends."""
        return AsyncTaskHubGrpcClient(**self._plain(), logger=logger)

    def worker(self, **options) -> TaskHubGrpcWorker:
        """A worker that is not started yet; `options` are those of the SDK's constructor."""
        options.setdefault("resiliency_options", EAGER)
        options.setdefault("channel_options", GrpcChannelOptions(raw_options=EAGER_CHANNEL))
        options.setdefault("concurrency_options", ConcurrencyOptions(maximum_thread_pool_workers=32))
        if self.managed:
            return DurableTaskSchedulerWorker(**self._managed(), logger=logger, **options)
        return TaskHubGrpcWorker(**self._plain(), logger=logger, **options)

    def arguments(self) -> list[str]:
        """The command line that makes another program reach the same server."""
        arguments = ["--address", self.address]
        if self.key:
            arguments += ["--key", self.key]
        if self.hub:
            arguments += ["--hub", self.hub]
        return arguments + (["--managed"] if self.managed else [])

    def _plain(self) -> dict:
        metadata = [("taskhub", self.hub)] if self.hub else []
        if self.key:
            metadata.append(("authorization", f"Bearer {self.key}"))
        return {"host_address": self.address, "metadata": metadata or None}

    def _managed(self) -> dict:
        return {
            "host_address": self.address,
            "taskhub": self.hub or "default",
            "secure_channel": False,
            "token_credential": StaticKey(self.key) if self.key else None,
        }

    @staticmethod
    def add_arguments(parser) -> None:
        """The options by which every program of this directory is told where the server is."""
        parser.add_argument("--address", default="127.0.0.1:7072", help="host:port of the server")
        parser.add_argument("--key", help="API key, sent as authorization: Bearer")
        parser.add_argument("--hub", help="task hub")
        parser.add_argument("--managed", action="store_true", help="through DurableTaskSchedulerClient and -Worker")
        parser.add_argument("--verbose", action="store_true", help="the log of the SDK, on standard error")

    @classmethod
    def of(cls, arguments) -> "Server":
        """The server that parsed arguments name."""
        logger.propagate = False
        logger.addHandler(logging.StreamHandler())
        logger.setLevel(logging.INFO if arguments.verbose else logging.CRITICAL + 1)
        logging.getLogger("durabletask").setLevel(logger.level)
        return cls(arguments.address, arguments.key, arguments.hub, arguments.managed)
