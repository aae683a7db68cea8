"""Runs scenarios with the SDK for Python against a server: `python suite.py --address HOST:PORT [NAME...]`.

Prints `ok NAME 0.12s` or `FAILED NAME` with the reason for each, and exits with 1 when one failed.
"""

import argparse
import os
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
from connection import Server
from harness import SCENARIOS, Context, Scenario
from in_memory import CANNOT

for module in sorted(Path(__file__).parent.glob("scenarios_*.py")):
    __import__(module.stem)

output = threading.Lock()


def run(scenario: Scenario, server: Server, opened: list) -> bool:
    """Runs one scenario, prints what came of it, and tells whether it held."""
    began = time.monotonic()
    with server.client() as client:
        context = Context(server, scenario.name, client)
        try:
            scenario.run(context)
        except BaseException:
            with output:
                print(f"FAILED {scenario.name} {time.monotonic() - began:.2f}s")
                print(traceback.format_exc(), flush=True)
            return False
        finally:
            opened.extend(context.opened)
    with output:
        print(f"ok {scenario.name} {time.monotonic() - began:.2f}s", flush=True)
    return True


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    Server.add_arguments(parser)
    parser.add_argument("--list", action="store_true", help="names of the scenarios, and end")
    parser.add_argument("--threads", type=int, default=12, help="scenarios at once")
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios to run; all when none is named")
    parser.add_argument("--in-memory", action="store_true", help="leave out what in_memory.py cannot do")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(SCENARIOS))
        return 0
    unknown = [name for name in arguments.names if name not in SCENARIOS]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    left_out = CANNOT if arguments.in_memory else {}
    chosen = [SCENARIOS[name] for name in arguments.names or SCENARIOS if name not in left_out]
    server = Server.of(arguments)
    began = time.monotonic()
    opened = [
        harness.start_worker(server, harness.ORCHESTRATORS, harness.ACTIVITIES, harness.ENTITIES) for _ in range(2)
    ]
    with ThreadPoolExecutor(arguments.threads) as pool:
        together = [one for one in chosen if not one.alone]
        held = list(pool.map(lambda one: run(one, server, opened), together))
    held += [run(one, server, opened) for one in chosen if one.alone]
    harness.stop_workers(opened, patience=10)
    print(f"{sum(held)} of {len(held)} held in {time.monotonic() - began:.1f}s", flush=True)
    return 0 if all(held) else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of the SDK that hang on a server that has gone would keep the process alive.
    os._exit(code)
