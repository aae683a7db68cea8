"""Runs orders: reserve, ask for approval if it is dear, pay, ship. What was reserved is given back when a step fails.

Kill it or the server at any moment and start it again: the orders go on where they were.
"""

import random
import time
from datetime import timedelta

from durabletask import task
from durabletask.worker import TaskHubGrpcWorker

from server import options

STOCK = {"lamp": 3, "desk": 40, "piano": 1}
IN_A_WHILE = task.RetryPolicy(
    first_retry_interval=timedelta(seconds=1), max_number_of_attempts=5, backoff_coefficient=2
)


def order(ctx: task.OrchestrationContext, order: dict):
    """The workflow. Whatever it yields is durable: it is not done again after a crash."""
    if not (yield ctx.call_activity(in_stock, input=order)):
        return {"shipped": False, "because": "there are not that many"}
    ctx.set_custom_status("reserving")
    reservation = yield ctx.call_activity(reserve, input=order, retry_policy=IN_A_WHILE)
    try:
        if order["price"] >= 1000:
            ctx.set_custom_status("waiting for approval")
            approval = ctx.wait_for_external_event("approval")
            too_late = ctx.create_timer(timedelta(minutes=5))
            if (yield task.when_any([approval, too_late])) is too_late:
                raise ValueError("nobody approved it in time")
            if not approval.get_result():
                raise ValueError("it was not approved")
        ctx.set_custom_status("paying")
        receipt = yield ctx.call_activity(pay, input=order, retry_policy=IN_A_WHILE)
    except (ValueError, task.TaskFailedError) as error:
        ctx.set_custom_status("giving back")
        yield ctx.call_activity(give_back, input=reservation)
        return {"shipped": False, "because": str(error)}
    ctx.set_custom_status("shipping")
    # Two things that need not wait for each other.
    parcel, _ = yield task.when_all([ctx.call_activity(ship, input=order), ctx.call_activity(thank, input=order)])
    ctx.set_custom_status("done")
    return {"shipped": True, "parcel": parcel, "receipt": receipt}


def in_stock(ctx: task.ActivityContext, order: dict) -> bool:
    """Looks whether there is enough."""
    return order["quantity"] <= STOCK.get(order["item"], 0)


def reserve(ctx: task.ActivityContext, order: dict) -> str:
    """Fails now and then, as what is at the other end of a network does."""
    if random.random() < 0.3:
        raise ConnectionError("the warehouse does not answer")
    print(f"{ctx.orchestration_id}: reserved {order['quantity']} {order['item']}")
    return f"reservation of {ctx.orchestration_id}"


def pay(ctx: task.ActivityContext, order: dict) -> str:
    """Takes a while."""
    time.sleep(1)
    print(f"{ctx.orchestration_id}: paid {order['price']}")
    # The id of the order makes it the same payment however often it is tried.
    return f"receipt of {ctx.orchestration_id}"


def give_back(ctx: task.ActivityContext, reservation: str) -> None:
    """Undoes `reserve`."""
    print(f"{ctx.orchestration_id}: gave back the {reservation}")


def ship(ctx: task.ActivityContext, order: dict) -> str:
    """Sends the parcel."""
    print(f"{ctx.orchestration_id}: shipped {order['item']}")
    return f"parcel of {ctx.orchestration_id}"


def thank(ctx: task.ActivityContext, order: dict) -> None:
    """Writes to the customer."""
    print(f"{ctx.orchestration_id}: thanked {order['customer']}")


if __name__ == "__main__":
    with TaskHubGrpcWorker(**options()) as worker:
        worker.add_orchestrator(order)
        for activity in (in_stock, reserve, pay, give_back, ship, thank):
            worker.add_activity(activity)
        worker.start()
        print("waiting for orders; end with Ctrl+C", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass
