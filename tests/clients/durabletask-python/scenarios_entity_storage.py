"""Finding entities, in pages, and cleaning up after them."""

import time
from datetime import datetime, timezone

from durabletask.client import EntityQuery
from durabletask.entities import EntityInstanceId

from harness import entity, scenario


@entity
def storage_box(ctx, value):
    if ctx.operation == "put":
        ctx.set_state(value)
    elif ctx.operation == "empty":
        ctx.set_state(None)


def found(t, prefix: str, **query) -> dict:
    """What a query finds: the ends of the keys, with the states."""
    entities = t.client.get_all_entities(EntityQuery(instance_id_starts_with=f"@storage_box@{prefix}", **query))
    keys = [one.id.key.rsplit("-", 1)[1] for one in entities]
    assert len(keys) == len(set(keys)), f"twice in one query: {keys}"
    assert {one.id.entity for one in entities} <= {"storage_box"}
    return {key: one.get_typed_state() if one.includes_state else None for key, one in zip(keys, entities, strict=True)}


def filled(t, prefix: str, keys: list[str]) -> None:
    """Boxes with something in them."""
    for key in keys:
        t.client.signal_entity(EntityInstanceId("storage_box", f"{prefix}-{key}"), "put", input={"in": key})
    t.until(lambda: found(t, prefix) == {key: {"in": key} for key in keys}, "they are all there")


@scenario
def query_entities(t):
    prefix = t.id()
    before = datetime.now(timezone.utc)
    filled(t, prefix, ["a", "b"])
    time.sleep(0.05)
    middle = datetime.now(timezone.utc)
    time.sleep(0.05)
    t.client.signal_entity(EntityInstanceId("storage_box", f"{prefix}-c"), "put", input={"in": "c"})
    t.until(lambda: found(t, prefix) == {key: {"in": key} for key in "abc"}, "the third is there")
    assert found(t, prefix, include_state=False) == {key: None for key in "abc"}
    assert found(t, f"{prefix}-b") == {"b": {"in": "b"}}
    assert found(t, f"{prefix}-nobody") == {}
    assert set(found(t, prefix, last_modified_from=middle)) == {"c"}
    assert set(found(t, prefix, last_modified_to=middle)) == {"a", "b"}
    assert found(t, prefix, last_modified_to=before) == {}
    # A change makes it younger.
    t.client.signal_entity(EntityInstanceId("storage_box", f"{prefix}-a"), "put", input={"in": "again"})
    t.until(lambda: found(t, prefix)["a"] == {"in": "again"}, "it is changed")
    assert set(found(t, prefix, last_modified_from=middle)) == {"a", "c"}


@scenario
def query_entities_in_pages(t):
    prefix = t.id()
    keys = [f"{number:02}" for number in range(23)]
    filled(t, prefix, keys)
    for size in (1, 5, 23, 100):
        assert list(found(t, prefix, page_size=size)) == keys, f"pages of {size}"


@scenario(alone=True)
def clean_entity_storage(t):
    prefix = t.id()
    filled(t, prefix, ["full", "x", "y"])
    t.client.clean_entity_storage()
    for key in "xy":
        t.client.signal_entity(EntityInstanceId("storage_box", f"{prefix}-{key}"), "empty")

    def state(key: str):
        box = t.client.get_entity(EntityInstanceId("storage_box", f"{prefix}-{key}"))
        return box.get_typed_state() if box else None

    t.until(lambda: state("x") is None and state("y") is None, "two are empty")
    result = t.client.clean_entity_storage(remove_empty_entities=True, release_orphaned_locks=True)
    # A server may have removed them as soon as they were empty.
    assert result.empty_entities_removed in (0, 2), result
    assert result.orphaned_locks_released == 0, result
    for key in "xy":
        assert t.client.get_entity(EntityInstanceId("storage_box", f"{prefix}-{key}")) is None
    assert found(t, prefix, include_transient=True) == {"full": {"in": "full"}}
    assert t.client.clean_entity_storage().empty_entities_removed == 0
