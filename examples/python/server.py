"""Where the server is: DOGWATCH_GRPC, and DOGWATCH_API_KEY where it asks for a key."""

import logging
import os


def options() -> dict:
    """What a client or a worker of the SDK is constructed with."""
    # The SDK tells of every call, where it is not given a logger that is quieter.
    logger = logging.getLogger("durabletask")
    logger.setLevel(logging.WARNING)
    key = os.environ.get("DOGWATCH_API_KEY")
    return {
        "host_address": os.environ.get("DOGWATCH_GRPC", "localhost:7072"),
        "logger": logger,
        "metadata": [("authorization", f"Bearer {key}")] if key else None,
    }
