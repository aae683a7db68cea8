"""Large payloads: of a megabyte as they are, and put elsewhere by the SDK so that only a token passes the server."""

import threading
import uuid

from durabletask.entities import DurableEntity, EntityInstanceId
from durabletask.payload import LargePayloadStorageOptions, PayloadStore

from harness import activity, named, orchestrator, scenario

MEGABYTE = 1024 * 1024


@activity
def payloads_double(_, text: str):
    return text[::-1]


@orchestrator
def payloads_flow(ctx, text: str):
    return (yield ctx.call_activity(payloads_double, input=text))


@orchestrator
def payloads_event(ctx, _):
    text = yield ctx.wait_for_external_event("text")
    return len(text)


@scenario
def payloads_of_a_megabyte(t):
    text = "0123456789abcdef" * (MEGABYTE // 16)
    instance = t.start(payloads_flow, text)
    state = t.wait(instance, "COMPLETED")
    assert state.get_input() == text and state.get_output() == text[::-1]
    waiting = t.start(payloads_event)
    t.client.raise_orchestration_event(waiting, "text", data=text)
    assert t.wait(waiting, "COMPLETED").get_output() == MEGABYTE
    # Whoever asks for many is not sent more than one message may hold.
    t.client.terminate_orchestration(t.start(payloads_event, text), output=text)


@orchestrator
def payloads_many_results(ctx, count: int):
    total = 0
    for number in range(count):
        total += len((yield ctx.call_activity(payloads_make, input=number)))
    return total


@activity
def payloads_make(_, number: int):
    return chr(ord("a") + number) * 400_000


@scenario
def history_of_megabytes(t):
    # 2.8 MB of results are replayed at the last turn: within the 4 MB that the SDK takes in one message.
    assert t.complete(payloads_many_results, 7) == 2_800_000


class Shelf(PayloadStore):
    """Keeps payloads in this process, where client and worker both are."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.kept: dict[str, bytes] = {}

    @property
    def options(self) -> LargePayloadStorageOptions:
        return LargePayloadStorageOptions(threshold_bytes=1000)

    def upload(self, data: bytes, *, instance_id: str | None = None) -> str:
        token = f"shelf:{uuid.uuid4().hex}"
        with self.lock:
            self.kept[token] = data
        return token

    async def upload_async(self, data: bytes, *, instance_id: str | None = None) -> str:
        return self.upload(data, instance_id=instance_id)

    def download(self, token: str) -> bytes:
        with self.lock:
            return self.kept[token]

    async def download_async(self, token: str) -> bytes:
        return self.download(token)

    def is_known_token(self, value: str) -> bool:
        return value.startswith("shelf:")


def _everything(ctx, plan: list):
    activity_name, child_name, entity_name, text = plan
    ctx.set_custom_status(text)
    first = yield ctx.call_activity(activity_name, input=text)
    second = yield ctx.call_sub_orchestrator(child_name, input=first)
    third = yield ctx.wait_for_external_event("text")
    fourth = yield ctx.call_entity(EntityInstanceId(entity_name, "k"), "swap", second)
    fifth = yield ctx.call_entity(EntityInstanceId(entity_name, "k"), "swap", "small")
    return [first, second, third, fourth, fifth]


def _reverse(_ctx, text: str):
    return text[::-1]


class Swap(DurableEntity):
    """Keeps what it is given and gives back what it had."""

    def swap(self, value):
        before = self.get_state(str, "")
        self.set_state(value)
        return before


@scenario
def payloads_kept_elsewhere(t):
    shelf = Shelf()
    flow, work, child, box = (t.id(label) for label in ("flow", "work", "child", "box"))
    worker = t.server.worker(payload_store=shelf)
    worker.add_orchestrator(named(_everything, flow))
    worker.add_orchestrator(named(_reverse, child))
    worker.add_activity(named(_reverse, work))
    worker.add_entity(Swap, box)
    worker.use_work_item_filters()
    worker.start()
    t.opened.append(worker)
    text = "large " * 100_000
    with t.server.client(payload_store=shelf) as client:
        instance = client.schedule_new_orchestration(flow, input=[work, child, box, text], instance_id=t.id())
        client.raise_orchestration_event(instance, "text", data=text)
        state = client.wait_for_orchestration_completion(instance, timeout=30)
        assert state.get_output() == [text[::-1], text, text, "", text], state.failure_details
        assert state.get_custom_status() == text
        history = client.get_orchestration_history(instance)
        assert any(getattr(event, "result", None) == f'"{text[::-1]}"' for event in history)
    # Without the store one sees that nothing but tokens has passed the server.
    raw = t.client.get_orchestration_state(instance)
    assert raw.serialized_input.startswith("shelf:") and raw.serialized_output.startswith("shelf:"), raw
    assert raw.serialized_custom_status.startswith("shelf:"), raw
