"""Places three orders, approves the dear one, and prints what becomes of them."""

import time

from durabletask.client import TaskHubGrpcClient

from server import options

ORDERS = [
    {"customer": "Ada", "item": "lamp", "quantity": 2, "price": 60},
    {"customer": "Ben", "item": "piano", "quantity": 1, "price": 9000},
    {"customer": "Cleo", "item": "piano", "quantity": 2, "price": 18000},
]

with TaskHubGrpcClient(**options()) as client:
    started = {client.schedule_new_orchestration("order", input=order): order for order in ORDERS}
    for instance, order in started.items():
        print(f"{instance}: {order['customer']} orders {order['quantity']} {order['item']}")

    def told(instance: str) -> str | None:
        """What the order says of itself."""
        return client.get_orchestration_state(instance).get_custom_status()

    dear = next(instance for instance, order in started.items() if order["customer"] == "Ben")
    while told(dear) != "waiting for approval":
        time.sleep(0.1)
    print(f"{dear}: waits for approval, and gets it")
    client.raise_orchestration_event(dear, "approval", data=True)

    for instance, order in started.items():
        state = client.wait_for_orchestration_completion(instance, timeout=60)
        outcome = state.get_output() if state.failure_details is None else state.failure_details.message
        print(f"{instance}: {order['customer']}: {state.runtime_status.name}, {outcome}")
