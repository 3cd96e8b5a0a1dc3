"""A job that sends a metric, a log and traces through the real SDK, configured by nothing but its environment."""

import os
import sys
import time

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._configuration import _OTelSDKConfigurator

traces, wanted = int(sys.argv[1]), set(sys.argv[2].split(","))
for signal in ("traces", "metrics", "logs"):
    # What `opentelemetry-instrument` assumes of an environment that names no exporters.
    os.environ.setdefault(f"OTEL_{signal.upper()}_EXPORTER", "otlp" if signal in wanted else "none")
_OTelSDKConfigurator().configure()

tracer = trace.get_tracer("conformance")
for number in range(traces):
    with tracer.start_as_current_span("conformance-span") as span:
        span.set_attribute("number", number)
if "metrics" in wanted:
    metrics.get_meter("conformance").create_counter("conformance_counter").add(1)
if "logs" in wanted:
    _logs.get_logger("conformance").emit(
        _logs.LogRecord(body="conformance-log", severity_number=_logs.SeverityNumber.WARN, timestamp=time.time_ns())
    )
for provider in (trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()):
    provider.shutdown()
