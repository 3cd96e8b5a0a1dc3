"""A job that sends a metric, a log and traces through the real SDK, configured by nothing but its environment.

usage: emit_telemetry.py TRACES SIGNAL,... [plain|failed]

With `plain` or `failed` the spans go into traces that two jobs share: one's spans are plain, the other's tell of an error.
"""

import hashlib
import os
import sys
import time

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._configuration import _OTelSDKConfigurator

traces, wanted, kind = int(sys.argv[1]), set(sys.argv[2].split(",")), "".join(sys.argv[3:])
for signal in ("traces", "metrics", "logs"):
    # What `opentelemetry-instrument` assumes of an environment that names no exporters.
    os.environ.setdefault(f"OTEL_{signal.upper()}_EXPORTER", "otlp" if signal in wanted else "none")
_OTelSDKConfigurator().configure()

tracer = trace.get_tracer("conformance")
for number in range(traces):
    shared = None
    if kind:
        digest = hashlib.sha256(str(number).encode()).digest()
        ids = int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])
        parent = trace.SpanContext(*ids, is_remote=True, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
        shared = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    with tracer.start_as_current_span("conformance-span", context=shared) as span:
        span.set_attribute("number", number)
        if kind == "failed":
            span.set_status(trace.StatusCode.ERROR)
if "metrics" in wanted:
    metrics.get_meter("conformance").create_counter("conformance_counter").add(1)
if "logs" in wanted:
    _logs.get_logger("conformance").emit(
        _logs.LogRecord(body="conformance-log", severity_number=_logs.SeverityNumber.WARN, timestamp=time.time_ns())
    )
for provider in (trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()):
    provider.shutdown()
