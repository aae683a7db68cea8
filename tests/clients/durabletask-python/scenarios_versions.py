"""Versions: strict, current or older, failing and rejecting, defaults for instances and their children."""

import time

from durabletask.worker import (
    OrchestrationWorkItemFilter,
    VersionFailureStrategy,
    VersioningOptions,
    VersionMatchStrategy,
    WorkItemFilters,
)

from harness import PATIENCE, named, scenario

STRICT, OLDER, NONE = VersionMatchStrategy.STRICT, VersionMatchStrategy.CURRENT_OR_OLDER, VersionMatchStrategy.NONE
FAIL, REJECT = VersionFailureStrategy.FAIL, VersionFailureStrategy.REJECT


def _own(ctx, _):
    return ctx.version


def options(version: str, match: VersionMatchStrategy, failure: VersionFailureStrategy = FAIL, default=None):
    """Versioning with every strategy named: the SDK does nothing sensible where one is missing."""
    return VersioningOptions(
        version=version, default_version=default, match_strategy=match, failure_strategy=failure
    )


def serve(t, name: str, versioning: VersioningOptions) -> None:
    """A worker that takes every version of `name` and judges it itself."""
    t.worker(orchestrators=[named(_own, name)], versioning=versioning, filters=by_name(name))


def by_name(*names: str):
    """Filters without versions, where the SDK would put the worker's own."""
    return WorkItemFilters(orchestrations=[OrchestrationWorkItemFilter(name) for name in names])


@scenario
def version_strict(t):
    name = t.id()
    serve(t, name, options("1.1.0", STRICT))
    assert t.complete(name, version="1.1.0") == "1.1.0"
    failure = t.wait(t.start(name, version="1.0.0"), "FAILED").failure_details
    assert failure.error_type == "VersionMismatch", failure
    assert failure.message == "The orchestration version '1.0.0' does not match the worker version '1.1.0'.", failure
    t.wait(t.start(name), "FAILED")


@scenario
def version_current_or_older(t):
    name = t.id()
    serve(t, name, options("1.10.0", OLDER))
    assert [t.complete(name, version=one) for one in ["1.10.0", "1.9.0", "1.0"]] == ["1.10.0", "1.9.0", "1.0"]
    assert t.complete(name) is None
    failure = t.wait(t.start(name, version="1.11"), "FAILED").failure_details
    assert "'1.11' is greater than the worker version '1.10.0'" in failure.message, failure


@scenario
def version_not_looked_at(t):
    name = t.id()
    serve(t, name, options("1.0", NONE))
    assert t.complete(name, version="99") == "99"


@scenario
def version_default_of_the_client(t):
    name = t.id()
    serve(t, name, options("7.0", STRICT))
    with t.server.client(default_version="7.0") as client:
        instance = client.schedule_new_orchestration(name, instance_id=t.id("default"))
        assert t.wait(instance, "COMPLETED").get_output() == "7.0"


@scenario
def version_rejected_waits_for_another_worker(t):
    name = t.id()
    serve(t, name, options("1.0", STRICT, REJECT))
    instance = t.start(name, version="2.0")
    assert t.complete(name, version="1.0") == "1.0"
    time.sleep(1)
    assert t.status(instance) == "PENDING", t.status(instance)
    serve(t, name, options("2.0", STRICT, REJECT))
    assert t.wait(instance, "COMPLETED", timeout=PATIENCE).get_output() == "2.0"


def _with_child(ctx, child: list):
    name, version = child
    return [ctx.version, (yield ctx.call_sub_orchestrator(name, version=version))]


@scenario
def version_of_a_sub_orchestration(t):
    parent, child = t.id("parent"), t.id("child")
    t.worker(
        orchestrators=[named(_with_child, parent), named(_own, child)],
        versioning=options("3.0", OLDER, default="2.5"),
    )
    assert t.complete(parent, [child, None], version="1.0") == ["1.0", "2.5"]
    assert t.complete(parent, [child, "2.6"], version="3.0") == ["3.0", "2.6"]
    failure = t.wait(t.start(parent, [child, "3.1"], version="3.0"), "FAILED").failure_details
    assert "'3.1' is greater than the worker version '3.0'" in failure.message, failure
