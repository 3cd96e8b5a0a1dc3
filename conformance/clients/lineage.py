"""Sends a run event with the real OpenLineage client, configured by a case's files alone, and checks what arrives.

usage: lineage.py SHARE KAFKA CASE_DIR...     SHARE is 0/2 for the first half of the distinct cases; KAFKA the broker's jars,
                                              or why there are none

What must arrive is read from `artifacts.json`; no backend is known by name here.
"""

import contextlib
import functools
import json
import os
import pathlib
import subprocess
import sys
from urllib.parse import urlsplit

import broker
import report
import sandbox
from case import AWS_IDENTITY, NASTY, Case, expand, references, secret_for, substitute
from report import Wrong

SCHEMA = pathlib.Path(__file__).parents[3] / "shared/upstream/openlineage/OpenLineage.json"
EMITTER = pathlib.Path(__file__).with_name("emit_lineage.py")

STUBBED = "producer stubbed"
CONSOLE = "openlineage.client.transport.console "  # how `emit_lineage.py` begins a line of that logger


def main(share, kafka, directories):
    cases = [case for case in map(Case, directories) if case.has("openlineage.yml")]
    if not sandbox.entered("openlineage", [case.name for case in cases]):
        return
    authority, _names = sandbox.Authority(), sandbox.Names()
    validator = event_validator()
    verdicts = report.Verdicts("openlineage", share)
    for case in cases:
        digest = case.digest("openlineage.yml", case.entries("OTEL_", without=True))
        verdicts.report(case.name, digest, lambda: judge(case, authority, validator, kafka))
    report.close()


def judge(case, authority, validator, kafka):
    try:
        notes = check(case, authority, validator, kafka)
    except Exception as error:  # whatever it is, the next case has its turn
        return [(report.refused, f"{type(error).__name__}: {error}")]
    verdicts = [(report.accepted, "; ".join(sorted(notes)))]
    if stubbed := sorted(note for note in notes if STUBBED in note):
        verdicts += [(report.skipped, f"{note}: {'no broker speaks it' if 'msk' in note else kafka}") for note in stubbed]
    return verdicts


def event_validator():
    if not SCHEMA.is_file():
        return None
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


def check(case, authority, validator, kafka):
    artifacts = case.artifacts()
    promised = artifacts["openlineage_config"]
    namespace = artifacts["environment_variables"]["OPENLINEAGE_NAMESPACE"]
    from_files = (case.yaml("openlineage.yml"), case.yaml("workload.env.yaml"))
    from_artifacts = (artifacts["openlineage_client_config"], artifacts["workload_env"])
    notes = set()
    # The same client from both sources, then from the files with each of the other secrets.
    secrets = NASTY if references(promised) else NASTY[:1]
    runs = []
    for (config, entries), nasty in [(from_artifacts, NASTY[0]), *[(from_files, value) for value in secrets]]:
        env = expand(entries, secret_for(promised, nasty))
        transports = list(flatten(substitute(promised, env, dollar="$$")))  # no escape there
        runs.append((config, env, transports))
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as brokers:
        running = None
        producers = [producer_config(transports) for _, _, transports in runs]
        users = {its["sasl.username"]: its["sasl.password"] for its in filter(None, producers) if "sasl.username" in its}
        ports = {80, 443} | {port for _, _, transports in runs for t in transports if (port := address(t).port)}
        server = stack.enter_context(sandbox.stand_in(authority, ports))
        for (config, env, transports), producer in zip(runs, producers):
            if producer and os.path.isdir(kafka) and not (running and running.knows(producer)):
                brokers.close()
                provide_files(case, authority, producer)
                own = {producer.get("sasl.username"): producer.get("sasl.password")}
                running = broker.Broker(kafka, authority, producer, users | own)
                brokers.callback(running.close)
                running.knows(producer)
            for path in {t["verify"] for t in transports if isinstance(t.get("verify"), str)}:
                sandbox.provide(path, authority.pem, mounts(case))
            server.requests.clear()
            produced = emit(config, env, stub=not running)
            for transport in transports:
                if transport.get("type") == "kafka" and running:
                    notes.add(consume(transport, running, namespace, validator))
                else:
                    notes.add(deliver(transport, server.requests, produced, namespace, validator))
        if running:
            refuse_strangers(producer, running)
    if validator is None:
        notes.add(f"event schema skipped: no {SCHEMA.name} in ../shared")
    return notes


def producer_config(transports):
    """Of the Kafka transport, if there is one."""
    return next((t["config"] for t in transports if t.get("type") == "kafka"), None)


def provide_files(case, authority, config):
    """Writes the TLS files that the producer's configuration names, where the values mount a Secret for them."""
    certificate, key = authority.certificate("job.example.test")
    for option, content in (("ca", authority.pem), ("certificate", certificate), ("key", key)):
        if path := config.get(f"ssl.{option}.location"):
            sandbox.provide(path, content, mounts(case))


def mounts(case):
    """Where the values mount volumes for workloads."""
    return [mount["mountPath"] for mount in case.yaml("values.yaml")["workloads"].get("volumeMounts") or []]


def flatten(transport):
    """The transports that deliver, in whatever they are wrapped."""
    if "transports" in transport:
        inner = transport["transports"]
        for one in inner.values() if isinstance(inner, dict) else inner:
            yield from flatten(one)
    elif "transport" in transport:
        yield from flatten(transport["transport"])
    else:
        yield transport


def address(transport):
    return urlsplit(transport.get("url", ""))


@functools.cache
def emitter():
    """The program that jobs are forked from."""
    return subprocess.Popen([sys.executable, str(EMITTER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def emit(config, env, stub):
    config_file, given = sandbox.SCRATCH / "openlineage.yml", sandbox.SCRATCH / "produced.jsonl"
    config_file.write_text(json.dumps(config))  # JSON is YAML
    given.write_text("")
    environment = {
        "PATH": os.environ["PATH"],
        "OPENLINEAGE_CONFIG": str(config_file),
        **({"CONFORMANCE_KAFKA_STUB": str(given)} if stub else {}),
        **AWS_IDENTITY,
        **env,
    }
    said = sandbox.SCRATCH / "job.log"
    jobs = emitter()
    print(json.dumps({"env": environment, "stderr": str(said)}), file=jobs.stdin, flush=True)
    ended = jobs.stdout.readline().strip()
    lines = said.read_text().splitlines()
    if ended != "0":
        raise Wrong(f"the client failed: {(lines or [f'ended with {ended}'])[-1]}")
    logged = [line.removeprefix(CONSOLE) for line in lines if line.startswith(CONSOLE)]
    return [json.loads(line) for line in given.read_text().splitlines()] + [{"topic": CONSOLE, "value": v} for v in logged]


def deliver(transport, requests, produced, namespace, validator):
    kind = transport.get("type")
    if kind in ("http", "async_http"):
        url = address(transport)
        path = f"/{transport.get('endpoint', 'api/v1/lineage')}"
        request = arrived(requests, url.hostname, url.port or (443 if url.scheme == "https" else 80), "POST", path)
        expect("TLS", request["tls"], url.scheme == "https")
        expect("Authorization", request["headers"].get("authorization"), authorization(transport.get("auth") or {}))
        for name, value in (transport.get("custom_headers") or {}).items():
            expect(f"header {name}", request["headers"].get(name.lower()), str(value))
        check_event(json.loads(request["body"]), namespace, validator)
        return f"{kind}: delivered"
    if kind == "amazon_datazone_api":
        region = transport.get("region")
        path = f"/v2/domains/{transport['domainId']}/lineage/events"
        request = arrived(requests, None, 443, "POST", path)
        if not request["host"].startswith(f"datazone.{region}."):
            raise Wrong(f"host `{request['host']}` is not DataZone's in `{region}`")
        signature = request["headers"].get("authorization", "")
        if not (signature.startswith("AWS4-HMAC-SHA256 ") and f"/{region}/datazone/" in signature):
            raise Wrong(f"Authorization is `{signature[:60]}`")
        check_event(json.loads(request["body"]), namespace, validator)
        return f"{kind}: delivered"
    if kind in ("kafka", "msk-iam"):
        messages = [m for m in produced if m["topic"] == transport["topic"]]
        if not messages:
            raise Wrong(f"nothing was produced to topic `{transport['topic']}`")
        for key, value in (transport.get("config") or {}).items():
            expect(f"producer config {key}", messages[-1]["config"].get(key), str(value))
        if "messageKey" in transport:
            expect("message key", messages[-1]["key"], transport["messageKey"])
        check_event(json.loads(messages[-1]["value"]), namespace, validator)
        return f"{kind}: {STUBBED}"
    if kind == "console":
        events = [m for m in produced if m["topic"] == CONSOLE]
        if not events:
            raise Wrong("the client logged no event")
        check_event(json.loads(events[-1]["value"]), namespace, validator)
        return f"{kind}: logged"
    raise Wrong(f"transport type `{kind}` has no check here")


def consume(transport, running, namespace, validator):
    """What the broker has of the event."""
    config, topic = transport["config"], transport["topic"]
    messages = running.messages(topic)
    expect(f"messages in topic `{topic}`", len(messages), 1)
    expect("message key", messages[0]["key"], transport.get("messageKey", f"run:{namespace}/conformance"))
    check_event(json.loads(messages[0]["value"]), namespace, validator)
    said = [config["security.protocol"], config.get("sasl.mechanism")]
    said.append("client certificate" if "ssl.certificate.location" in config else None)
    return f"kafka: consumed from a broker ({', '.join(filter(None, said))})"


def refuse_strangers(config, running):
    """The broker has nothing for those who are not who they must be."""
    strangers = []
    if "sasl.mechanism" in config:
        strangers.append(("another password", config | {"sasl.password": "another"}))
    if "ssl.certificate.location" in config:
        own = ("ssl.certificate.location", "ssl.key.location")
        strangers.append(("no certificate", {name: value for name, value in config.items() if name not in own}))
    for who, its in strangers:
        if not running.refuses(its):
            raise Wrong(f"the broker takes a client with {who}")


def authorization(auth):
    match auth.get("type"):
        case None:
            return None
        case "api_key":
            return f"Bearer {auth.get('apiKey') or auth.get('apikey') or auth.get('api_key')}"
        case "jwt":
            return "Bearer stand-in-token"
        case other:
            raise Wrong(f"auth type `{other}` has no check here")


def arrived(requests, host, port, method, path):
    for request in requests:
        if (
            "error" not in request
            and host in (None, request["host"])
            and (port, method, path) == (request["port"], request["method"], request["path"])
        ):
            return request
    got = [r.get("error") or f"{r['method']} {r['host']}:{r['port']}{r['path']}" for r in requests]
    raise Wrong(f"no {method} {host or '*'}:{port}{path}; arrived: {got}")


def expect(what, got, wanted):
    if got != wanted:
        raise Wrong(f"{what} is {got!r}, not {wanted!r}")


def check_event(event, namespace, validator):
    expect("namespace", event["job"]["namespace"], namespace)
    for error in validator.iter_errors(event) if validator else ():
        raise Wrong(f"event: {error.json_path}: {error.message}")


if __name__ == "__main__":
    main(*sys.argv[1:3], sys.argv[3:])
