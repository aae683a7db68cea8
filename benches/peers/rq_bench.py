"""Enqueues jobs into RQ from 64 clients, then lets workers drain them; prints the two rates as JSON.

rq_bench.py PORT COUNT PROCESSES [messages]

With `messages` a job does nothing, and 100 are enqueued at once: RQ as a queue of messages.
"""
import json
import multiprocessing
import subprocess
import sys
import threading
import time

from redis import Redis
from rq import Queue, SimpleWorker

CLIENTS = 64
BATCH = 100
# More than cores, so that one runs while another waits for a sync.
WORKERS_PER_CORE = 4


def run_true(_note):
    subprocess.run(["/bin/true"], check=True)


def nothing(_body):
    pass


def batches(port, count):
    queue = Queue(connection=Redis(port=port))
    for first in range(0, count, BATCH):
        bodies = (
            {"order": f"{number:010}", "customer": f"c-{number % 1_000_000:06}", "amount": 1250}
            for number in range(first, first + BATCH)
        )
        jobs = [Queue.prepare_data("rq_bench.nothing", (body,), result_ttl=0) for body in bodies]
        with queue.connection.pipeline() as pipeline:
            queue.enqueue_many(jobs, pipeline=pipeline)
            pipeline.execute()


def client(port, count):
    queue = Queue(connection=Redis(port=port))
    for _ in range(count):
        queue.enqueue("rq_bench.run_true", "n" * 400, result_ttl=0)


def clients(port, count, threads, work):
    started = [threading.Thread(target=work, args=(port, count // threads)) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def drain(port):
    connection = Redis(port=port)
    SimpleWorker([Queue(connection=connection)], connection=connection).work(burst=True, logging_level="ERROR")


def main():
    port, count, processes = (int(word) for word in sys.argv[1:4])
    messages = sys.argv[4:] == ["messages"]
    work, each, workers = (batches, BATCH, processes * WORKERS_PER_CORE) if messages else (client, 1, processes)
    per_process = max(1, CLIENTS // processes)
    total = processes * per_process * each * max(1, count // processes // per_process // each)
    enqueue_rate = total / spread(processes, clients, (port, total // processes, per_process, work))
    job_rate = total / spread(workers, drain, (port,))
    left = Queue(connection=Redis(port=port)).count
    if left:
        raise SystemExit(f"{left} jobs were not run")
    print(json.dumps({"enqueue_rate": enqueue_rate, "job_rate": job_rate}))


def spread(processes, work, arguments):
    started = [multiprocessing.Process(target=work, args=arguments) for _ in range(processes)]
    begun = time.monotonic()
    for process in started:
        process.start()
    for process in started:
        process.join()
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
