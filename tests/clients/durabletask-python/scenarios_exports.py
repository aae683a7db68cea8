"""`durabletask.extensions.history_export`: the histories of what has ended, written to files."""

import gzip
import json
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

from durabletask.client import OrchestrationStatus
from durabletask.extensions.history_export import (
    ExportDestination,
    ExportFormat,
    ExportFormatKind,
    ExportHistoryClient,
    ExportJobCreationOptions,
    ExportJobStatus,
    ExportMode,
)

from harness import PATIENCE, scenario, stop_workers


class Files:
    """Writes each history to a file under one directory and remembers whose it is."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.lock = threading.Lock()
        self.paths: dict[str, Path] = {}

    def write(self, *, instance_id, container, blob_name, payload, **_) -> None:
        """The one method of the extension's writers."""
        path = self.root / container / blob_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload)
        with self.lock:
            self.paths[instance_id] = path


# Others would purge what is being exported, and the export would wait for minutes before it tries again.
@scenario(alone=True)
def history_export(t):
    began = datetime.now(timezone.utc)
    time.sleep(0.02)
    done = [t.start("queries_flow", f"be exported {number}") for number in range(12)]
    failed = t.start("queries_flow", "fail")
    for instance in [*done, failed]:
        t.client.wait_for_orchestration_completion(instance, timeout=PATIENCE)
    time.sleep(0.02)
    ended = datetime.now(timezone.utc)
    with tempfile.TemporaryDirectory() as directory:
        lines = export(t, Files(directory), began, ended, ExportFormatKind.JSONL_GZIP, page=5)
        assert sorted(lines) == sorted([*done, failed]), sorted(lines)
        document = [json.loads(line) for line in gzip.decompress(lines[done[0]].read_bytes()).splitlines()]
        assert "be exported 0" in json.dumps(document), document
        texts = export(
            t, Files(directory), began, ended, ExportFormatKind.JSON, status=[OrchestrationStatus.FAILED]
        )
        assert list(texts) == [failed], list(texts)
        assert "as asked" in json.dumps(json.loads(texts[failed].read_text()))


def export(t, files: Files, began: datetime, ended: datetime, kind: ExportFormatKind, page=100, status=None) -> dict:
    """Runs one job to its end and gives the files that it wrote."""
    client = ExportHistoryClient(t.client, files)
    worker = t.server.worker()
    client.register_worker(worker)
    worker.use_work_item_filters()
    worker.start()
    job = client.create_job(
        ExportJobCreationOptions(
            mode=ExportMode.BATCH,
            completed_time_from=began,
            completed_time_to=ended,
            runtime_status=status,
            destination=ExportDestination(container="histories", prefix=t.run),
            format=ExportFormat(kind=kind),
            max_instances_per_batch=page,
        ),
        job_id=f"{t.id()}-{kind.value}",
    )
    ended_job = client.wait_for_job(job.job_id, timeout=PATIENCE, poll_interval=0.1)
    assert ended_job.status == ExportJobStatus.COMPLETED, ended_job
    assert ended_job.exported_instances == len(files.paths) and ended_job.failed_instances == 0, ended_job
    assert job.job_id in [one.job_id for one in client.list_jobs()]
    t.wait(job.orchestrator_instance_id, "COMPLETED")
    client.delete_job(job.job_id)
    t.until(lambda: client.get_job(job.job_id) is None, "the job is deleted")
    assert t.status(job.orchestrator_instance_id) is None, "the job's orchestration is purged"
    assert stop_workers([worker])
    return files.paths
