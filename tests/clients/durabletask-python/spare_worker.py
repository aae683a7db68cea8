"""A worker in a process of its own, which a scenario kills: `python spare_worker.py --address ... NAME DIRECTORY`.

Its activities leave a file when they begin, so that the scenario knows when to kill.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from connection import Server
from harness import named, start_worker


def flow(ctx, name: str):
    """Three activities, one after the other."""
    done = []
    for step in range(3):
        done.append((yield ctx.call_activity(f"{name}-step", input=step)))
    return done


def waits(ctx, name: str):
    """An activity, an event, an activity."""
    first = yield ctx.call_activity(f"{name}-step", input=10)
    event = yield ctx.wait_for_external_event("go")
    last = yield ctx.call_activity(f"{name}-step", input=11)
    return [first, event, last]


def step_in(directory: str, seconds: float):
    """An activity that notes in `directory` who begins it, and takes its time."""

    def step(context, number: int):
        with open(Path(directory) / f"{context.orchestration_id}.{number}", "a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(seconds)
        return [number, os.getpid()]

    return step


def serve(server: Server, name: str, directory: str, seconds: float):
    """A running worker for these functions, under names that begin with `name`."""
    return start_worker(
        server,
        orchestrators=[named(flow, f"{name}-flow"), named(waits, f"{name}-waits")],
        activities=[named(step_in(directory, seconds), f"{name}-step")],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    Server.add_arguments(parser)
    parser.add_argument("name")
    parser.add_argument("directory")
    parser.add_argument("seconds", type=float)
    arguments = parser.parse_args()
    serve(Server.of(arguments), arguments.name, arguments.directory, arguments.seconds)
    # It ends with the scenario, even when that does not come to kill it.
    sys.stdin.read()
    os._exit(0)
