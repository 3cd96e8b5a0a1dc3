"""A job that emits one run event, configured by nothing but its environment, as an integration does.

usage: emit_lineage.py

Reads JSON lines `{"env", "stderr"}` and answers each with the exit code of a job that has this environment only and writes to
this file. The jobs are forked once everything is loaded, since loading the client takes ten times as long as emitting.
"""

import json
import logging
import os
import signal
import sys
import uuid
from datetime import datetime, timezone

import boto3  # noqa: F401  the transports load what they need when they are made
import confluent_kafka
import requests  # noqa: F401
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

SECONDS = 120


def become_a_job():
    """Returns in each job."""
    for line in sys.stdin:
        asked = json.loads(line)
        job = os.fork()
        if job == 0:
            signal.alarm(SECONDS)
            os.dup2(os.open(asked["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), sys.stderr.fileno())
            os.environ.clear()
            os.environ.update(asked["env"])
            return
        print(os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]), flush=True)
    sys.exit()


become_a_job()
if stub := os.environ.get("CONFORMANCE_KAFKA_STUB"):
    # No broker here: what the client hands to the producer is written down instead.
    class Producer:
        def __init__(self, config):
            self.config = config

        def produce(self, topic, value, key=None, **_):
            config = {name: str(setting) for name, setting in self.config.items()}
            with open(stub, "a") as log:
                print(json.dumps({"config": config, "topic": topic, "key": key, "value": value.decode()}), file=log)

        def flush(self, *_, **__):
            return 0

        poll = flush

    confluent_kafka.Producer = Producer

# The console transport writes at this level.
logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
namespace = os.environ["OPENLINEAGE_NAMESPACE"]
client = OpenLineageClient()
client.emit(
    RunEvent(
        # A server may take finished runs only.
        eventType=RunState.COMPLETE,
        eventTime=datetime.now(timezone.utc).isoformat(),
        run=Run(runId=str(uuid.uuid4())),
        job=Job(namespace=namespace, name="conformance"),
        producer="https://example.test/floe-render/conformance",
        inputs=[InputDataset(namespace=namespace, name="raw.orders")],
        outputs=[OutputDataset(namespace=namespace, name="mart.orders")],
    )
)
client.close(timeout=10)
