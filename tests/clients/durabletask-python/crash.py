"""Kills of the server in the middle of everything, with a worker and a client of the SDK that stay connected.

It is started by a test that reads its output: at a line `KILL` the server is to be killed (`kill -9`) and started again
on the same port and data; then this program is told with a line `READY`. For each workload it prints `ok NAME 1.2s` or
`FAILED NAME` with the reason, and it exits with 1 when one failed. First each workload has kills of its own, at the
places that it names itself; then all of them run at once, through kills at random.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
import traceback

import crash_workloads
from connection import Server
from crash_effects import Effects
from crash_world import World, say
from crash_workloads import ACTIVITIES, ENTITIES, ORCHESTRATORS, WORKLOADS
from harness import start_worker


def report(name: str, began: float, error: BaseException | None) -> bool:
    """Prints what came of a workload and tells whether it held."""
    took = f"{name} {time.monotonic() - began:.1f}s"
    if error is None:
        say(f"ok {took}")
        return True
    say(f"FAILED {took}\n{''.join(traceback.format_exception(error))}")
    return False


def alone(world: World, workload) -> bool:
    """Runs one workload and kills wherever it says so."""
    began = time.monotonic()
    try:
        for middle in workload(world):
            world.until(middle, "the middle of the work")
            world.kill()
    except Exception as error:  # Any failure is the result of this workload.
        return report(workload.__name__, began, error)
    return report(workload.__name__, began, None)


def together(world: World, workloads: list, kills: int, seed: int) -> bool:
    """Runs all workloads at once and kills at random."""
    held = []

    def run(workload) -> None:
        began = time.monotonic()
        name = f"{workload.__name__}_among_others"
        try:
            for middle in workload(world):
                world.until(middle, "the middle of the work")
        except Exception as error:  # Any failure is the result of this workload.
            held.append(report(name, began, error))
        else:
            held.append(report(name, began, None))

    threads = [threading.Thread(target=run, args=(workload,), daemon=True) for workload in workloads * 2]
    for thread in threads:
        thread.start()
    chance = random.Random(seed)
    for _ in range(kills):
        time.sleep(chance.uniform(0.5, 2.0))
        world.kill()
    for thread in threads:
        thread.join()
    return all(held)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    Server.add_arguments(parser)
    parser.add_argument("--list", action="store_true", help="names of the workloads, and end")
    parser.add_argument("--kills", type=int, default=5, help="kills while all workloads run at once; 0 leaves that out")
    parser.add_argument("--seed", type=int, default=1, help="when these kills come")
    parser.add_argument("names", nargs="*", metavar="NAME", help="workloads to run; all when none is named")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(workload.__name__ for workload in WORKLOADS))
        return 0
    chosen = [one for one in WORKLOADS if not arguments.names or one.__name__ in arguments.names]
    server = Server.of(arguments)
    with tempfile.TemporaryDirectory() as directory:
        effects = Effects(os.path.join(directory, "effects"))
        crash_workloads.effects = effects
        start_worker(server, ORCHESTRATORS, ACTIVITIES, ENTITIES, interceptors=[effects])
        world = World(server, effects)
        held = [alone(world, workload) for workload in chosen]
        if arguments.kills:
            held.append(together(world, chosen, arguments.kills, arguments.seed))
        for excess in effects.too_often():
            say(f"FAILED exactly_once\n{excess}")
            held.append(False)
        say(f"{world.kills} kills; {effects.repeated()} activities ran more than once")
    return 0 if all(held) else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of the SDK that hang on a server that has gone would keep the process alive.
    os._exit(code)
