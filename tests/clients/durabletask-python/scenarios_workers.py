"""Workers that come and go: killed in the middle of an activity, stopped, slow; what they had goes on at others."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import spare_worker
from harness import PATIENCE, Calls, named, scenario, stop_workers

calls = Calls()


def spare(t, name: str, directory: str, seconds: float) -> subprocess.Popen:
    """A worker in a process of its own."""
    program = Path(__file__).with_name("spare_worker.py")
    return subprocess.Popen(
        [sys.executable, str(program), *t.server.arguments(), name, directory, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def began(directory: str, instance: str, step: int) -> list[str]:
    """The processes in which a step began."""
    path = Path(directory) / f"{instance}.{step}"
    return path.read_text().split() if path.exists() else []


@scenario
def worker_killed_in_an_activity(t):
    name = t.id()
    with tempfile.TemporaryDirectory() as directory:
        process = spare(t, name, directory, seconds=60)
        try:
            instances = [t.start(f"{name}-flow", name) for _ in range(3)]
            for instance in instances:
                t.until(lambda one=instance: began(directory, one, 0), "the first step begins")
            process.kill()
            process.wait()
            t.opened.append(spare_worker.serve(t.server, name, directory, seconds=0))
            for instance in instances:
                steps = t.wait(instance, "COMPLETED").get_output()
                assert [step for step, _ in steps] == [0, 1, 2], steps
                assert str(process.pid) not in [str(pid) for _, pid in steps], steps
                assert [len(began(directory, instance, step)) for step in range(3)] == [2, 1, 1]
        finally:
            process.kill()


@scenario
def worker_killed_between_turns(t):
    name = t.id()
    with tempfile.TemporaryDirectory() as directory:
        process = spare(t, name, directory, seconds=0)
        try:
            instance = t.start(f"{name}-waits", name)
            t.until(lambda: began(directory, instance, 10), "the first step begins")
            time.sleep(0.5)
            process.kill()
            process.wait()
            t.client.raise_orchestration_event(instance, "go", data="meanwhile")
            t.opened.append(spare_worker.serve(t.server, name, directory, seconds=0))
            first, event, last = t.wait(instance, "COMPLETED").get_output()
            assert (event, first[1], last[0]) == ("meanwhile", process.pid, 11), (first, event, last)
            assert [len(began(directory, instance, step)) for step in (10, 11)] == [1, 1]
        finally:
            process.kill()


@scenario
def one_of_two_workers_killed(t):
    name = t.id()
    with tempfile.TemporaryDirectory() as directory:
        process = spare(t, name, directory, seconds=0.3)
        try:
            t.complete(f"{name}-flow", name)
            t.opened.append(spare_worker.serve(t.server, name, directory, seconds=0.3))
            instances = [t.start(f"{name}-flow", name) for _ in range(20)]
            t.until(
                lambda: any(str(process.pid) in began(directory, one, step) for one in instances for step in range(3)),
                "the one that is killed gets work",
            )
            process.kill()
            process.wait()
            for instance in instances:
                steps = t.wait(instance, "COMPLETED").get_output()
                assert [step for step, _ in steps] == [0, 1, 2], steps
        finally:
            process.kill()


def _slow(context, _):
    calls.add(context.orchestration_id)
    time.sleep(1)
    return "finished"


def _call(ctx, name: str):
    return (yield ctx.call_activity(name))


@scenario
def worker_that_is_stopped_finishes_its_work(t):
    flow, name = t.id("flow"), t.id("slow")
    t.worker(orchestrators=[named(_call, flow)])
    leaving = t.worker(activities=[named(_slow, name)])
    instance = t.start(flow, name)
    t.until(lambda: calls.of(instance), "the activity runs")
    # It takes nothing new, ends what it has, and reports that after its stream is gone.
    assert stop_workers([leaving])
    assert t.wait(instance, "COMPLETED", timeout=PATIENCE).get_output() == "finished"
    assert calls.of(instance) == 1


@scenario
def worker_that_comes_back(t):
    name = t.id()
    with tempfile.TemporaryDirectory() as directory:
        worker = spare_worker.serve(t.server, name, directory, seconds=0)
        first = t.start(f"{name}-flow", name)
        t.wait(first, "COMPLETED")
        assert stop_workers([worker])
        second = t.start(f"{name}-flow", name)
        time.sleep(0.3)
        assert t.status(second) == "PENDING"
        worker.start()
        t.opened.append(worker)
        t.wait(second, "COMPLETED")
