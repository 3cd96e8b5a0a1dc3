"""Runs `floe-render check` against a real Jaeger, a real collector that wants TLS and a token, and every bundle's vendor.

usage: check.py RENDER OTELCOL JAEGER TEMPLATES

In the sandbox every host name resolves, and a stand-in answers for the vendors. What a check must say is written here; which
checks a bundle has is read from `check --offline`.
"""

import base64
import json
import pathlib
import subprocess
import sys
import urllib.request

import report
import sandbox
from report import Wrong

TOKEN = "1e5"
HOST = "backend.example.com"
BACKEND = "otlp.example.com"
COLLECTOR = "--telemetry=otlp"


def main(render, otelcol, jaeger, templates):
    if not sandbox.entered("check"):
        return
    authority, names = sandbox.Authority(), sandbox.Names()
    pem = sandbox.SCRATCH / "authority.pem"
    pem.write_bytes(authority.pem)
    trial = Trial(render, pem)
    attempt("jaeger", lambda: against_jaeger(trial, jaeger, names))
    attempt("collector", lambda: against_collector(trial, otelcol, authority, names))
    names.elsewhere = {}
    for kind in ("telemetry", "lineage"):
        for folder in sorted(pathlib.Path(templates, kind).iterdir()):
            attempt(f"{kind}/{folder.name}", lambda: against_stand_in(trial, authority, kind, folder.name))
    report.close()


def attempt(name, trial):
    try:
        report.accepted("check", name, trial())
    except Exception as error:  # whatever it is, the next one has its turn
        report.refused("check", name, f"{type(error).__name__}: {error}")


class Trial:
    def __init__(self, render, pem):
        self.render, self.pem = render, pem

    def run(self, *arguments, env=None, trust=True):
        command = [self.render, "check", "--format=json", *arguments]
        if trust:
            command.append(f"--ca-file={self.pem}")
        done = subprocess.run(command, env=env or {}, capture_output=True, text=True, timeout=60)
        try:
            document = json.loads(done.stdout)
        except ValueError:
            raise Wrong(f"{arguments}: exit code {done.returncode}: {done.stderr}") from None
        if document["exit_code"] != done.returncode:
            raise Wrong(f"{arguments}: says {document['exit_code']} and exits with {done.returncode}")
        if any(value in done.stdout + done.stderr for value in (env or {}).values() if value.startswith("secret-")):
            raise Wrong(f"{arguments}: shows a secret")
        return done.returncode, document["checks"]

    def expect(self, code, wanted, *arguments, **options):
        """`wanted` has result, stage and a part of the message for each check that is not of a variable, or a list of
        these where either may happen."""
        got, checks = self.run(*arguments, **options)
        given = [(one["result"], one.get("stage"), one["message"]) for one in checks if one["kind"] not in ("variable", "file")]
        same = lambda w, g: w[:2] == g[:2] and w[2] in g[2]
        either = [w if isinstance(w, list) else [w] for w in wanted]
        fits = len(given) == len(wanted) and all(any(same(w, g) for w in ws) for ws, g in zip(either, given))
        if got != code or not fits:
            raise Wrong(f"{' '.join(arguments)}: wanted {code}, {wanted}; got {got}, {given}")


def start(command, health, log):
    with open(sandbox.SCRATCH / log, "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    if not sandbox.wait_until(health, 30, process):
        process.kill()
        raise Wrong(f"{command[0]} did not start: {(sandbox.SCRATCH / log).read_text()[-500:]}")
    return process


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=1).status == 200
    except OSError:
        return False


def configured(name, config):
    file = sandbox.SCRATCH / name
    file.write_text(json.dumps(config))
    return str(file)


def against_jaeger(trial, jaeger, names):
    names.elsewhere = {"jaeger": sandbox.JAEGER}
    config = {
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 100}}}},
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": f"{sandbox.JAEGER}:16686"},
                "grpc": {"endpoint": f"{sandbox.JAEGER}:16685"},
            },
        },
        "receivers": {"otlp": {"protocols": {
            "grpc": {"endpoint": f"{sandbox.JAEGER}:4317"}, "http": {"endpoint": f"{sandbox.JAEGER}:4318"},
        }}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
        },
    }
    command = [jaeger, "--config", configured("jaeger.yaml", config)]
    process = start(command, lambda: answers(f"http://{sandbox.JAEGER}:16686/"), "jaeger.log")
    ok, page = ("ok", None, "gRPC status OK"), ("ok", None, "200")
    try:
        trial.expect(0, [ok, page], "--telemetry=jaeger")
        trial.expect(0, [page], *over_http("http://jaeger:4318"))
        # Whether the answer or the end of the connection is seen first is a matter of time, here and below.
        reset = [
            ("unreachable", "connect", "does that port speak gRPC (HTTP/2)?"),
            ("unreachable", "protocol", "does not speak gRPC (HTTP/2)"),
        ]
        trial.expect(4, [reset, page], "--telemetry=jaeger", f"--connect-to=jaeger:4317={sandbox.JAEGER}:4318")
        other = [("unreachable", "protocol", "does not speak HTTP"), ("unreachable", "connect", "was closed before it answered")]
        trial.expect(4, [ok, other], "--telemetry=jaeger", f"--connect-to=jaeger:16686={sandbox.JAEGER}:4317")
    finally:
        process.kill()
        process.wait()
    gone = ("unreachable", "connect", "refuses the connection")
    trial.expect(4, [gone, gone], "--telemetry=jaeger")
    return "an empty export over gRPC and over HTTP, the page, wrong ports, a Jaeger that is gone"


def over_http(endpoint):
    tls = "true" if endpoint.startswith("https") else "false"
    return [COLLECTOR, f"--set=telemetry.protocol=http,telemetry.endpoint={endpoint},telemetry.tls.enabled={tls}"]


def against_collector(trial, otelcol, authority, names):
    """A real receiver that wants TLS and a bearer token."""
    names.elsewhere = {BACKEND: sandbox.JAEGER}
    chain, key = authority.certificate(BACKEND)
    protocol = {"tls": {"cert_pem": chain.decode(), "key_pem": key.decode()}, "auth": {"authenticator": "bearertokenauth"}}
    config = {
        "extensions": {"bearertokenauth": {"token": TOKEN}, "health_check": {"endpoint": f"{sandbox.JAEGER}:13133"}},
        "receivers": {"otlp": {"protocols": {
            "grpc": protocol | {"endpoint": f"{sandbox.JAEGER}:4317"}, "http": protocol | {"endpoint": f"{sandbox.JAEGER}:4318"},
        }}},
        "exporters": {"debug": {}},
        "service": {
            "extensions": ["bearertokenauth", "health_check"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {signal: {"receivers": ["otlp"], "exporters": ["debug"]} for signal in ("traces", "metrics", "logs")},
        },
    }
    command = [otelcol, "--config", configured("backend.yaml", config)]
    process = start(command, lambda: answers(f"http://{sandbox.JAEGER}:13133/"), "backend.log")
    grpc = [COLLECTOR, f"--set=telemetry.endpoint={BACKEND}:4317"]
    bearer = "--set=telemetry.auth.type=bearer"
    right, other = {"OTLP_TOKEN": TOKEN}, {"OTLP_TOKEN": "secret-of-another"}
    refused, over_grpc = ("credential", "status", "refuses with 401"), ("credential", "status", "UNAUTHENTICATED")
    try:
        for signal in ("traces", "metrics", "logs"):
            only = ",".join(f"telemetry.{one}={str(one == signal).lower()}" for one in ("traces", "metrics", "logs"))
            trial.expect(0, [("ok", None, "gRPC status OK; certificate valid for")], *grpc, bearer, f"--set={only}", env=right)
        trial.expect(5, [over_grpc], *grpc, bearer, env=other)
        trial.expect(5, [over_grpc], *grpc)
        http = over_http(f"https://{BACKEND}:4318")
        trial.expect(0, [("ok", None, "200; certificate valid for")], *http, bearer, env=right)
        trial.expect(5, [refused], *http, bearer, env=other)
        trial.expect(5, [refused], *http)
        unknown = ("unreachable", "tls", "no trusted authority signed")
        trial.expect(4, [unknown], *grpc, bearer, env=right, trust=False)
        names.elsewhere["other.example.com"] = sandbox.JAEGER
        name = ("unreachable", "tls", f"for `{BACKEND}`, not for `other.example.com`")
        trial.expect(4, [name], *over_http("https://other.example.com:4318"), bearer, env=right)
        plain = ("unreachable", "status", "400")
        trial.expect(4, [plain], *over_http(f"http://{BACKEND}:4318"))
    finally:
        process.kill()
        process.wait()
    return "TLS and a token over gRPC and HTTP: right, wrong, none, an unknown authority, another name, plain text"


def against_stand_in(trial, authority, kind, name):
    """Whatever the bundle checks, a vendor that answers makes it pass."""
    selection = f"--{kind}={name}"
    _, checks = trial.run(selection, "--offline")
    env = {}
    for check in checks:
        if check["kind"] == "variable":
            variable = check["check"].removeprefix("variable ")
            plain = HOST if variable.endswith("HOST") else "eu-west-1"  # what is no secret stands in an address
            env[variable] = plain if "--set" in check["message"] else f"secret-{variable.lower()}"
    if any(check["kind"] == "aws" for check in checks):
        env |= {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "secret-of-aws"}
    ports = {80, 443, 5000, 8585, 9092, 4318, 16686}
    if name in ("jaeger", "otlp") and kind == "telemetry":
        return "gRPC: see jaeger and collector"
    with sandbox.stand_in(authority, ports) as server:
        code, checks = trial.run(selection, env=env)
        wrong = [one for one in checks if one["result"] not in ("ok", "skipped")]
        if code or wrong:
            raise Wrong(f"exit code {code}, {wrong}")
        tried = [one for one in checks if "milliseconds" in one]
        if not tried and all(one["kind"] != "none" for one in checks):
            raise Wrong(f"nothing was tried: {checks}")
        carried = [value for one in server.requests for value in one.get("headers", {}).values()]
    carried += [base64.b64decode(value.removeprefix("Basic ")).decode() for value in carried if value.startswith("Basic ")]
    sent = sorted(variable for variable, value in env.items() if value.startswith("secret-") and value in str(carried))
    return f"{len(tried)} tried; sent: {', '.join(sent) or 'no credential'}"


if __name__ == "__main__":
    main(*sys.argv[1:])
