"""`durabletask.scheduled`: a schedule fires, is paused, resumed, changed and deleted."""

import time
from datetime import timedelta

from durabletask.client import OrchestrationQuery
from durabletask.scheduled import (
    ScheduleCreationOptions,
    ScheduledTaskClient,
    ScheduleQuery,
    ScheduleStatus,
    ScheduleUpdateOptions,
)

from harness import orchestrator, scenario


@orchestrator
def schedules_fired(_ctx, value):
    return value


def fired(t, schedule: str) -> list:
    """What the schedule has started until now."""
    query = OrchestrationQuery(instance_id_prefix=f"{schedule}-", fetch_inputs_and_outputs=True)
    return t.client.get_all_orchestration_states(query)


@scenario
def schedule_fires_pauses_and_ends(t):
    worker = t.server.worker()
    worker.configure_scheduled_tasks()
    worker.use_work_item_filters()
    worker.start()
    t.opened.append(worker)
    schedules = ScheduledTaskClient(t.client, operation_timeout=30)
    name = t.id()
    assert schedules.get_schedule(name) is None
    schedule = schedules.create_schedule(
        ScheduleCreationOptions(
            schedule_id=name,
            orchestration_name="schedules_fired",
            interval=timedelta(seconds=1),
            orchestration_input={"n": 1},
            start_immediately_if_late=True,
        )
    )
    assert schedule.describe().status == ScheduleStatus.ACTIVE
    t.until(lambda: len(fired(t, name)) >= 3, "it fires three times")
    t.until(lambda: all(one.get_output() == {"n": 1} for one in fired(t, name)), "what it started completes")
    listed = schedules.list_schedules(ScheduleQuery(schedule_id_prefix=name))
    assert [one.schedule_id for one in listed] == [name], listed

    schedule.pause()
    assert schedule.describe().status == ScheduleStatus.PAUSED
    before = len(fired(t, name))
    time.sleep(2.2)
    assert len(fired(t, name)) <= before + 1, "it fires while it is paused"
    before = len(fired(t, name))

    schedule.update(ScheduleUpdateOptions(orchestration_input={"n": 2}))
    schedule.resume()
    assert schedule.describe().status == ScheduleStatus.ACTIVE
    t.until(lambda: any(one.get_input() == {"n": 2} for one in fired(t, name)), "it fires as it was changed")
    assert len(fired(t, name)) > before

    schedule.delete()
    t.until(lambda: schedules.get_schedule(name) is None, "it is gone")
    before = len(fired(t, name))
    time.sleep(1.5)
    assert len(fired(t, name)) <= before + 1, "it fires after it was deleted"
