"""A job that emits one run event, configured by nothing but its environment, as an integration does."""

import json
import logging
import os
import uuid
from datetime import datetime, timezone

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

if stub := os.environ.get("CONFORMANCE_KAFKA_STUB"):
    # No broker here: what the client hands to the producer is written down instead.
    import confluent_kafka

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
