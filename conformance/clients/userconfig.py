"""Feeds every Jaeger `userconfig` in the cases' values to a real Jaeger's own validation.

usage: userconfig.py JAEGER CASE_DIR...
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile

import report
from case import Case, references

# Jaeger reads some variables by what YAML makes of their value, so one that reads as a number is tried too.
SECRETS = ("s3cret", "1e5")


def main(jaeger, directories):
    verdicts = report.Verdicts("jaeger")
    for case in map(Case, directories):
        for chart, values in (case.yaml("values.yaml") if case.has("values.yaml") else {}).items():
            config = values.get("userconfig") if isinstance(values, dict) else None
            if config:
                text = json.dumps(config)  # JSON is YAML
                digest = hashlib.sha256(text.encode()).hexdigest()
                verdicts.report(case.name, digest, lambda: judge(jaeger, chart, config, text))
    report.close()


def judge(jaeger, chart, config, text):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        for secret in SECRETS:
            environment = {"PATH": os.environ["PATH"], **dict.fromkeys(references(config), secret)}
            command = [jaeger, "validate", "--config", file.name]
            run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
            if run.returncode:
                return [(report.refused, f"{chart}.userconfig, secrets `{secret}`: {run.stderr.split('Error: ')[-1][:500]}")]
    return [(report.accepted, f"{chart}.userconfig")]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
