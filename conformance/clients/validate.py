"""Feeds each case's `collector.yaml` to a collector's own validation, all cases in one process.

usage: validate.py OTELCOL VERSION CASE_DIR...
"""

import json
import subprocess
import sys

import report
import sandbox
from case import AWS_IDENTITY, NASTY, Case


def main(otelcol, version, directories):
    consumer = f"collector {version}"
    cases = [case for case in map(Case, directories) if case.has("collector.yaml") and case.target() == version]
    if not cases:
        report.skipped(consumer, "-", f"no case is rendered for {version}")
        return
    if not sandbox.entered(consumer):
        return
    authority, _names = sandbox.Authority(), sandbox.Names()
    verdicts, requests = report.Verdicts(consumer), {}

    def ask(case):
        if reason := case.unavailable():
            return [(report.skipped, reason)]
        try:
            env = AWS_IDENTITY | case.collector_env(NASTY[0])
        except (KeyError, ValueError, OSError) as error:
            return [(report.refused, f"{type(error).__name__}: {error}")]
        config = (case.path / "collector.yaml").read_text()
        requests[case.name] = json.dumps({"name": case.name, "config": config, "env": env}) + "\n"
        return []

    for case in cases:
        bindings = case.yaml("values.yaml")["otel"].get("extraEnvs") if case.has("values.yaml") else None
        verdicts.report(case.name, case.digest("collector.yaml", [bindings]), lambda: ask(case))
    with sandbox.stand_in(authority, {443}):  # an authenticator may fetch a token to see that its options are right
        answer = subprocess.run([otelcol, "validate-many"], input="".join(requests.values()), capture_output=True, text=True)
    answers = {verdict["name"]: verdict for verdict in map(json.loads, answer.stdout.splitlines())}
    for name in requests:
        verdict = answers.get(name) or {"ok": False, "error": f"no verdict: {answer.stderr.strip()[-300:]}"}
        if verdict["ok"]:
            report.accepted(consumer, name, "; ".join(verdict.get("warnings", [])))
        else:
            report.refused(consumer, name, verdict["error"])
    report.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
