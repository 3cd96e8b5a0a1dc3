"""Feeds each case's `collector.yaml` to a collector's own validation, all cases in one process.

usage: validate.py OTELCOL VERSION CASE_DIR...
"""

import json
import subprocess
import sys

import report
from case import AWS_IDENTITY, NASTY, Case


def main(otelcol, version, directories):
    consumer = f"collector {version}"
    cases = [case for case in map(Case, directories) if case.has("collector.yaml") and case.target() == version]
    if not cases:
        report.skipped(consumer, "-", f"no case is rendered for {version}")
    requests = []
    for case in list(cases):
        try:
            env = AWS_IDENTITY | case.collector_env(NASTY[0])
        except (KeyError, ValueError, OSError) as error:
            report.refused(consumer, case.name, f"{type(error).__name__}: {error}")
            cases.remove(case)
            continue
        config = (case.path / "collector.yaml").read_text()
        requests.append(json.dumps({"name": case.name, "config": config, "env": env}) + "\n")
    answer = subprocess.run([otelcol, "validate-many"], input="".join(requests), capture_output=True, text=True)
    verdicts = [json.loads(line) for line in answer.stdout.splitlines()]
    for case, verdict in zip(cases, verdicts):
        if verdict["ok"]:
            report.accepted(consumer, case.name, "; ".join(verdict.get("warnings", [])))
        else:
            report.refused(consumer, case.name, verdict["error"])
    for case in cases[len(verdicts) :]:
        report.refused(consumer, case.name, f"no verdict: {answer.stderr.strip()[-300:]}")
    report.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
