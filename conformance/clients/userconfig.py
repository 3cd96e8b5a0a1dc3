"""Feeds every Jaeger `userconfig` in the cases' values to a real Jaeger's own validation, and starts it until it is ready.

One whose storage is another program's is validated only: it is that program that Jaeger would wait for.

usage: userconfig.py JAEGER CASE_DIR...
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from urllib.parse import urlsplit

import report
import sandbox
from case import Case, expand, references

# Jaeger reads some variables by what YAML makes of their value, so one that reads as a number is tried too.
SECRETS = ("s3cret", "1e5")
# Storages that are Jaeger's own.
INSIDE = {"memory", "badger"}


def main(jaeger, directories):
    try:
        sandbox.enter()
        authority = sandbox.Authority()
    except sandbox.Unavailable as reason:
        report.skipped("jaeger", "-", f"validated, but not started: {reason}")
        authority = None
    verdicts = report.Verdicts("jaeger")
    for case in map(Case, directories):
        for chart, values in (case.yaml("values.yaml") if case.has("values.yaml") else {}).items():
            config = values.get("userconfig") if isinstance(values, dict) else None
            if config:
                text = json.dumps(config)  # JSON is YAML
                digest = hashlib.sha256(text.encode()).hexdigest()
                verdicts.report(case.name, digest, lambda: judge(jaeger, chart, values, text, authority))
    report.close()


def judge(jaeger, chart, values, text, authority):
    config = values["userconfig"]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        for secret in SECRETS:
            environment = {"PATH": os.environ["PATH"], **dict.fromkeys(references(config), secret)}
            command = [jaeger, "validate", "--config", file.name]
            run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
            if run.returncode:
                return [(report.refused, f"{chart}.userconfig, secrets `{secret}`: {run.stderr.split('Error: ')[-1][:500]}")]
    backends = config["extensions"].get("jaeger_storage", {}).get("backends", {}).values()
    if outside := sorted({kind for backend in backends for kind in backend} - INSIDE):
        return [(report.accepted, f"{chart}.userconfig, validated: its storage is {', '.join(outside)}")]
    if authority is None:
        return [(report.accepted, f"{chart}.userconfig, validated")]
    if failure := start(jaeger, values, text, authority):
        return [(report.refused, f"{chart}.userconfig: {failure}")]
    return [(report.accepted, f"{chart}.userconfig, ready")]


def start(jaeger, values, text, authority):
    """Why Jaeger does not become ready in a pod with these volumes, if it does not."""
    config, pod = values["userconfig"], values.get("jaeger") or {}
    with sandbox.root() as root:
        for mount in pod.get("extraVolumeMounts") or []:
            volume = next(v for v in pod["extraVolumes"] if v["name"] == mount["name"])
            folder = root / mount["mountPath"].lstrip("/")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            provide(folder, volume, authority)
        (root / "userconfig.yaml").write_text(text)
        program = root / "jaeger-program"
        program.touch()
        subprocess.run(["mount", "--bind", jaeger, program], check=True)
        entries = pod.get("extraEnv") or []
        environment = {"PATH": os.environ["PATH"], **expand(entries, lambda _: SECRETS[0])}
        environment |= {entry["name"]: sandbox.POD for entry in entries if "fieldRef" in entry.get("valueFrom", {})}
        log = root / "jaeger.log"
        with open(log, "w") as out:
            command = ["chroot", str(root), "/jaeger-program", "--config", "/userconfig.yaml"]
            process = sandbox.in_pod(command, env=environment, stdout=out, stderr=out)
        try:
            health = urlsplit(f"//{config['extensions']['healthcheckv2']['http']['endpoint']}").port
            if not sandbox.wait_until(lambda: answers(f"http://{sandbox.POD}:{health}/status"), 30, process):
                return f"did not become ready: {log.read_text().strip()[-500:]}"
        finally:
            process.kill()
            process.wait()
            subprocess.run(["umount", program], check=True)
    return None


def provide(folder, volume, authority):
    """What a Secret's volume holds: a certificate, its key, and who signed it."""
    chain, key = authority.certificate("jaeger.example.test")
    content = {"tls.crt": chain, "tls.key": key, "ca.crt": authority.pem}
    for item in (volume.get("secret") or {}).get("items") or []:
        (folder / item["path"]).write_bytes(content[item["key"]])


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=1).status == 200
    except OSError:
        return False


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
