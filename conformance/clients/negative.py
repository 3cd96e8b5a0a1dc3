"""Feeds configs that are known to be wrong to the same consumers, and is content when each fails the way it says.

usage: negative.py OTELCOL DIRECTORY

`# expect:` in a file is what must stand in the consumer's refusal, or in what it does instead of what was meant.
"""

import json
import pathlib
import re
import subprocess
import sys

import lineage
import report
import sandbox
import yaml


def main(otelcol, directory):
    if not sandbox.entered("negative"):
        return
    authority, _names = sandbox.Authority(), sandbox.Names()
    for file in sorted(pathlib.Path(directory).glob("collector/*.yaml")):
        request = json.dumps({"name": file.name, "config": file.read_text()})
        answer = subprocess.run([otelcol, "validate-many"], input=request, capture_output=True, text=True, check=True)
        judge(file, json.loads(answer.stdout)["error"])
    for file in sorted(pathlib.Path(directory).glob("openlineage/*.yml")):
        judge(file, emit(yaml.safe_load(file.read_text()), authority))
    report.close()


def emit(config, authority):
    """What became of an event: the client's refusal, or the requests that were made."""
    ports = {80, 443, lineage.address(config["transport"]).port} - {None}
    with sandbox.stand_in(authority, ports) as server:
        try:
            lineage.emit(config, {"OPENLINEAGE_NAMESPACE": "conformance"}, stub=True)
        except report.Wrong as refusal:
            return str(refusal)
    return "; ".join(
        f"{r['method']} {r['host']}:{r['port']}{r['path']} {r['headers'].get('authorization', '')}"
        for r in server.requests
        if "error" not in r
    )


def judge(file, outcome):
    expected = re.search(r"^# expect: (.+)$", file.read_text(), re.MULTILINE)[1]
    name = f"{file.parent.name}/{file.stem}"
    if expected in outcome:
        report.accepted("negative", name, f"fails: {expected}")
    else:
        report.refused("negative", name, f"does not fail with `{expected}`, but: {outcome or 'accepted'}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
