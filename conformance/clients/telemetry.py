"""Starts a real collector with a case's `collector.yaml` and sends a trace, a metric and a log through it with a real SDK.

usage: telemetry.py SHARE OTELCOL VERSION JAEGER CASE_DIR...     SHARE is 0/2 for the first half of the distinct cases

The collector gets its environment and files as `values.yaml` binds them, the SDK is configured by `workload.env.yaml`
alone. OTLP over gRPC ends in a real Jaeger, everything over HTTP in a stand-in that answers for the vendor's host name
with a certificate for it. What must arrive is read from `collector.yaml`; no backend is known by name here.
"""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import urllib.request
from urllib.parse import urlsplit

import cluster
import report
import sandbox
from case import AWS_IDENTITY, NASTY, Case, basic, expand, substitute
from report import Wrong

EMITTER = pathlib.Path(__file__).with_name("emit_telemetry.py")
SERVICE = "conformance-job"
# Exporters that the collectors here hold as a config only: they start and discard.
DISCARDS = {"0.158.0": {"datadog", "awsxray"}, "0.120.0": {"datadog"}}
# Where the APIs of Google Cloud are, and the call that takes a signal.
GOOGLE = {
    "traces": ("cloudtrace.googleapis.com", "/google.devtools.cloudtrace.v2.TraceService/BatchWriteSpans"),
    "metrics": ("monitoring.googleapis.com", "/google.monitoring.v3.MetricService/CreateTimeSeries"),
    "logs": ("logging.googleapis.com", "/google.logging.v2.LoggingServiceV2/WriteLogEntries"),
}
# The collector undoes `$$` in the value of a variable too, so no config can bind a secret that holds it.
SECRETS = [value.replace("$$", "$") for value in NASTY]
# Credentials that jobs have at the collector. Both sides must agree on them, and a header's list can hold them.
USER, PASSWORD = "jobs", "1e5"
JOBS = {"FLOE_COLLECTOR_TOKEN": "1e5", "FLOE_COLLECTOR_BASIC": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
# How a collector begins to tell what it detected.
DETECTED = "detected resource information"
# With a sampler in the way one trace may be dropped by chance; of this many some must pass 1 %.
MANY = 2000
# Of these, which two replicas get half each of, none may arrive as a half.
SHARED = 300


def main(share, otelcol, version, jaeger, directories):
    cases = [case for case in map(Case, directories) if case.has("collector.yaml") and case.target() == version]
    if not sandbox.entered("telemetry", [case.name for case in cases]):
        return
    network = Network(sandbox.Authority(), sandbox.Names())
    verdicts = report.Verdicts("telemetry", share)
    for number, case in enumerate(cases):
        digest = case.digest("collector.yaml", case.entries("OTEL_"))
        secret = SECRETS[number % len(SECRETS)]
        verdicts.report(case.name, digest, lambda: judge(case, network, version, secret, otelcol, jaeger))
    report.close()


def judge(case, network, version, secret, otelcol, jaeger):
    if reason := case.unavailable():
        return [(report.skipped, reason)]
    try:
        delivered, discarded = Trial(case, network, version, secret).run(otelcol, jaeger)
    except Exception as error:  # whatever it is, the next case has its turn
        return [(report.refused, f"{type(error).__name__}: {error}")]
    verdicts = []
    if delivered:
        verdicts.append((report.accepted, "; ".join(delivered)))
    if discarded:
        verdicts.append((report.skipped, f"ready, but this collector only discards for {', '.join(discarded)}"))
    return verdicts


class Network:
    def __init__(self, authority, names):
        self.authority, self.names = authority, names


class Trial:
    """One case, from start to shutdown."""

    def __init__(self, case, network, version, nasty):
        self.case, self.network, self.version = case, network, version
        self.env = case.collector_env(nasty) | {name: value for name, value in JOBS.items() if name in str(case.yaml("values.yaml"))}
        self.config = substitute(case.yaml("collector.yaml"), self.env)
        self.workload = expand(case.yaml("workload.env.yaml"), lambda name: JOBS.get(name, nasty))
        self.exporters = dict(self.config["exporters"])
        # What sends from one replica to another is no backend.
        between = [name for name in self.exporters if name.split("/")[0] in ("load_balancing", "loadbalancing")]
        self.between = [self.exporters.pop(name) for name in between]
        pipelines = self.config["service"]["pipelines"]
        self.signals = {}  # of each exporter that a job can reach
        self.sampled = False
        waiting = [
            name for name, pipeline in pipelines.items() if any(r.split("/")[0] == "otlp" for r in pipeline["receivers"])
        ]
        reached = set()
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            signal, pipeline = name.split("/")[0], pipelines[name]
            self.sampled |= any("sampl" in processor for processor in pipeline.get("processors") or [])
            for exporter in pipeline["exporters"]:
                if exporter in self.exporters:
                    self.signals.setdefault(exporter, set()).add(signal)
                elif exporter not in between:  # a connector hands the same signal on to the pipelines that receive from it
                    waiting += [
                        other
                        for other, its in pipelines.items()
                        if exporter in its["receivers"] and other.split("/")[0] == signal
                    ]

    def run(self, otelcol, jaeger):
        real = {name: kind for name in self.signals if (kind := name.split("/")[0]) not in DISCARDS[self.version]}
        discarded = sorted(set(self.signals) - set(real))
        grpc = [name for name, kind in real.items() if kind in ("otlp", "otlp_grpc")]
        self.network.names.elsewhere = {self.collector_host(): sandbox.POD}
        for exporter in self.between:
            self.network.names.elsewhere[exporter["resolver"]["dns"]["hostname"]] = [sandbox.POD, sandbox.REPLICA]
        self.provide_files()
        ports = {80, 443}
        for name in set(real) - set(grpc):
            ports |= {port for port in [urlsplit(self.exporters[name].get("endpoint") or "").port] if port}
        processes = []
        kept = real and any(name.split("/")[0] == "file_storage" for name in self.config["extensions"])
        if kept:  # what comes while no backend is there, and before a restart, must arrive after it
            collector = self.start_collector(otelcol)
            self.emit(set.union(*self.signals.values()))
            self.stop(collector)
        with contextlib.ExitStack() as stack:
            role = self.case.yaml("values.yaml")["otel"].get("clusterRole")
            self.network.names.elsewhere["metadata.google.internal"] = cluster.METADATA
            around = role and stack.enter_context(cluster.running(self.network.authority, role["rules"]))
            server = stack.enter_context(sandbox.stand_in(self.network.authority, ports))
            if "googlecloud" in real.values():
                hosts = [host for host, _ in GOOGLE.values()]
                self.network.names.elsewhere |= dict.fromkeys(hosts, sandbox.JAEGER)
                self.calls = stack.enter_context(sandbox.grpc_stand_in(self.network.authority, hosts))
            try:
                if grpc:
                    processes.append(self.start_jaeger(jaeger, grpc))
                if self.between:
                    processes.append(self.start_collector(otelcol, sandbox.REPLICA))
                processes.append(self.start_collector(otelcol))
                self.refuse_strangers()
                collectors = 2 if self.between else 1
                watching = lambda: around.watched.count("pods") >= collectors  # noqa: E731
                if any(self.processors("k8s_attributes")) and not sandbox.wait_until(watching, 15):
                    raise Wrong(f"the collector watches no pods: {around.refused or last_line('collector.log')}")
                if not kept:
                    self.emit(set.union(*self.signals.values()))
                delivered = [self.check(name, kind, server.requests) for name, kind in sorted(real.items())]
                if kept:
                    delivered.append("after a restart")
                if self.between and grpc:
                    delivered.append(self.check_whole_traces())
                if role:
                    delivered.append(self.check_cluster(around))
                self.stop(processes.pop())
            finally:
                for process in processes:
                    process.kill()
                    process.wait()
        return delivered, discarded

    def provide_files(self):
        """Writes the TLS files that the config names, where the values mount a Secret for them."""
        chart = self.case.yaml("values.yaml")["otel"]
        mounted = {mount["name"]: mount["mountPath"] for mount in chart.get("extraVolumeMounts") or []}
        mounts = list(mounted.values())
        claims = (chart.get("statefulset") or {}).get("volumeClaimTemplates") or []
        self.volumes = [mounted[claim["metadata"]["name"]] for claim in claims]
        for volume in self.volumes:
            shutil.rmtree(volume, ignore_errors=True)
            pathlib.Path(volume).mkdir(parents=True)
        certificate, key = self.network.authority.certificate("collector.example.test")
        bound = self.env.get("GOOGLE_APPLICATION_CREDENTIALS")
        self.google = bound or str(sandbox.SCRATCH / "credentials.json")
        account = {"type": "service_account", "project_id": "conformance", "private_key_id": "1", "client_id": "1"}
        account |= {"client_email": "c@conformance.iam.gserviceaccount.com", "private_key": key.decode()}
        account = json.dumps(account | {"token_uri": "https://oauth2.googleapis.com/token"})
        sandbox.provide(self.google, account.encode(), mounts if bound else [str(sandbox.SCRATCH)])
        self.provide_receivers_files(mounts)
        for exporter in self.exporters.values():
            tls = (exporter or {}).get("tls") or {}
            for option, content in (("ca_file", self.network.authority.pem), ("cert_file", certificate), ("key_file", key)):
                if path := tls.get(option):
                    sandbox.provide(path, content, mounts)
        for exporter in self.between:  # its certificate is the receivers'
            if path := exporter["protocol"]["otlp"]["tls"].get("ca_file"):
                sandbox.provide(path, self.network.authority.pem, mounts)

    def provide_receivers_files(self, mounts):
        """What the collector and the job know each other by."""
        host = self.collector_host()
        job = self.case.yaml("values.yaml")["workloads"].get("volumeMounts") or []
        (chain, key), authority = self.network.authority.certificate(host), self.network.authority.pem
        digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
        files = []
        receivers = self.config["receivers"].values()
        for protocol in [protocol for receiver in receivers for protocol in receiver["protocols"].values()]:
            tls = protocol.get("tls") or {}
            for option, content in (("cert_file", chain), ("key_file", key), ("client_ca_file", authority)):
                files.append((tls.get(option), content, mounts))
        for extension in self.config["extensions"].values():
            path = ((extension or {}).get("htpasswd") or {}).get("file")
            files.append((path, f"{USER}:{{SHA}}{digest}\n".encode(), mounts))
        shown, its_key = self.network.authority.certificate("job.example.test")
        for name, content in (("CERTIFICATE", authority), ("CLIENT_CERTIFICATE", shown), ("CLIENT_KEY", its_key)):
            files.append((self.workload.get(f"OTEL_EXPORTER_OTLP_{name}"), content, [mount["mountPath"] for mount in job]))
        for path, content, places in files:
            if path:
                sandbox.provide(path, content, places)

    def collector_host(self):
        return urlsplit(self.workload["OTEL_EXPORTER_OTLP_ENDPOINT"]).hostname

    def refuse_strangers(self):
        """Where jobs must say who they are, one that does not is refused; so it is where replicas send to each other."""
        between = (self.config["receivers"].get("otlp/balanced") or {}).get("protocols", {}).get("grpc", {})
        if between.get("auth") or (between.get("tls") or {}).get("client_ca_file"):
            port = between["endpoint"].rsplit(":")[-1]
            endpoint = self.workload["OTEL_EXPORTER_OTLP_ENDPOINT"].replace(":4317", f":{port}")
            known = self.workload | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
            # Not as the job whose traces are looked at: nothing tells here which pod they are from.
            if failure := self.job(known, f"{SERVICE}-known", "1", "traces"):
                raise Wrong(f"a replica takes nothing from one that says who it is: {failure}")
            says = {f"OTEL_EXPORTER_OTLP_{name}" for name in ("HEADERS", "CLIENT_CERTIFICATE", "CLIENT_KEY")}
            stranger = {name: value for name, value in known.items() if name not in says}
            if not self.job(stranger, f"{SERVICE}-stranger", "1", "traces"):
                raise Wrong("a replica takes data from a stranger where replicas send to each other")
        receiver = self.config["receivers"]["otlp"]["protocols"].get("http") or {}  # a patch may have removed it
        tls = receiver.get("tls")
        if not (receiver.get("auth") or (tls or {}).get("client_ca_file")):
            return
        context = ssl.create_default_context(cadata=self.network.authority.pem.decode())
        context.check_hostname = False
        url = f"{'https' if tls else 'http'}://{sandbox.POD}:4318/v1/traces"
        request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=5, context=context if tls else None).read()
        except OSError as error:  # 401, or a handshake that fails
            if getattr(error, "code", 401) == 401:
                return
        raise Wrong("the collector takes data from a job that does not say who it is")

    def start_jaeger(self, jaeger, exporters):
        receivers = {}
        for number, name in enumerate(exporters):
            exporter = self.exporters[name]
            endpoint = urlsplit("//" + exporter["endpoint"].split("://")[-1])
            self.network.names.elsewhere[endpoint.hostname] = sandbox.JAEGER
            grpc = {"endpoint": f"{sandbox.JAEGER}:{endpoint.port}"}
            tls = exporter.get("tls") or {}
            if self.jaeger_has_tls(otherwise=not tls.get("insecure")):
                host = tls.get("server_name_override") or endpoint.hostname
                chain, key = self.network.authority.certificate(host)
                grpc["tls"] = {"cert_pem": chain.decode(), "key_pem": key.decode()}
                if tls.get("cert_file") or tls.get("cert_pem"):
                    authority = sandbox.SCRATCH / "ca.pem"
                    authority.write_bytes(self.network.authority.pem)
                    grpc["tls"]["client_ca_file"] = str(authority)
            if grpc not in [receiver["protocols"]["grpc"] for receiver in receivers.values()]:
                receivers[f"otlp/{number}"] = {"protocols": {"grpc": grpc}}
        config = {
            "extensions": {
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 10000}}}},
                "jaeger_query": {
                    "storage": {"traces": "memory"},
                    "http": {"endpoint": f"{sandbox.JAEGER}:16686"},
                    "grpc": {"endpoint": f"{sandbox.JAEGER}:16685"},
                },
            },
            "receivers": receivers,
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": list(receivers), "exporters": ["jaeger_storage_exporter"]}},
            },
        }
        file = sandbox.SCRATCH / "jaeger.yaml"
        file.write_text(json.dumps(config))
        log = open(sandbox.SCRATCH / "jaeger.log", "w")
        process = subprocess.Popen([jaeger, "--config", str(file)], stdout=log, stderr=log)
        if not sandbox.wait_until(lambda: get(f"http://{sandbox.JAEGER}:16686/api/services"), 30, process):
            raise Wrong(f"Jaeger did not start: {last_line('jaeger.log')}")
        return process

    def jaeger_has_tls(self, otherwise):
        """Whether the Jaeger that the values deploy takes TLS; one that is elsewhere takes what it is sent."""
        chart = self.case.yaml("values.yaml").get("jaeger") or {}
        if not chart.get("enabled"):
            return otherwise
        receiver = (chart.get("userconfig") or {}).get("receivers", {}).get("otlp", {})
        return "tls" in receiver.get("protocols", {}).get("grpc", {})

    def start_collector(self, otelcol, address=sandbox.POD):
        environment = {
            "PATH": os.environ["PATH"],
            **AWS_IDENTITY,
            "GOOGLE_APPLICATION_CREDENTIALS": self.google,  # stands for the pod's identity where the values bind none
            **self.env,
        }
        name = "collector.log" if address == sandbox.POD else "replica.log"
        log = open(sandbox.SCRATCH / name, "w")
        command = [otelcol, "--config", str((self.case.path / "collector.yaml").resolve())]
        for number, volume in enumerate(self.volumes if address == sandbox.REPLICA else ()):
            own = sandbox.SCRATCH / "volumes" / str(number)
            shutil.rmtree(own, ignore_errors=True)
            own.mkdir(parents=True)
            command = ["sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "sh", str(own), volume, *command]
        process = sandbox.in_pod(command, address, env=environment, stdout=log, stderr=log)
        health = self.config["extensions"]["health_check"]
        port = urlsplit(f"//{health['endpoint']}").port
        if not sandbox.wait_until(lambda: get(f"http://{address}:{port}{health.get('path', '/')}"), 30, process):
            process.kill()
            raise Wrong(f"the collector did not become ready: {last_line(name)}")
        return process

    def emit(self, signals, service=SERVICE, shared=()):
        traces = SHARED if shared else MANY if self.sampled else 1
        if failure := self.job(self.workload, service, str(traces), ",".join(signals), *shared):
            raise Wrong(f"the job failed: {failure}")

    def job(self, workload, service, *arguments):
        """Runs a job that is configured by these variables; gives how it failed."""
        environment = {"PATH": os.environ["PATH"], "OTEL_SERVICE_NAME": service, **workload}
        job = subprocess.run([sys.executable, str(EMITTER), *arguments], env=environment, capture_output=True, text=True, timeout=60)
        return job.stderr.strip()[-300:] if job.returncode or "Failed to export" in job.stderr else None

    def check(self, name, kind, requests):
        if kind in ("otlp", "otlp_grpc"):
            return self.check_jaeger(name)
        if kind in ("otlphttp", "otlp_http"):
            return self.check_otlp_http(name, requests)
        if kind == "awsxray":
            return self.check_xray(name, requests)
        if kind == "googlecloud":
            return self.check_google(name)
        if kind == "elasticsearch":
            return self.check_elasticsearch(name, requests)
        if kind == "acme":
            return self.check_acme(name)
        if kind == "debug":
            return self.check_debug(name)
        raise Wrong(f"exporter type `{kind}` has no check here")

    def check_jaeger(self, name):
        url = f"http://{sandbox.JAEGER}:16686/api/traces?service={SERVICE}&limit=1"
        found = []

        def arrived():
            found[:] = json.loads(get(url) or b'{"data": null}')["data"] or []
            return found

        if "traces" not in self.signals[name] or not sandbox.wait_until(arrived, 15):
            raise Wrong(f"no trace of `{name}` in Jaeger: {last_line('collector.log')}")
        process = found[0]["processes"][found[0]["spans"][0]["processID"]]
        self.check_content(found[0]["spans"][0]["operationName"], {tag["key"]: tag["value"] for tag in process["tags"]})
        return f"{name}: traces in Jaeger"

    def check_whole_traces(self):
        """Two jobs send the spans of common traces to one replica each; a trace that was kept has both."""
        service = f"{SERVICE}-shared"
        for kind, address in (("plain", sandbox.POD), ("failed", sandbox.REPLICA)):
            self.network.names.elsewhere[self.collector_host()] = address
            self.emit({"traces"}, service, (kind,))
        url = f"http://{sandbox.JAEGER}:16686/api/traces?service={service}&limit={2 * SHARED}"
        found = []

        def whole():
            found[:] = [len(one["spans"]) for one in json.loads(get(url) or b'{"data": null}')["data"] or []]
            return found == [2] * SHARED

        if not sandbox.wait_until(whole, 15):
            halves = found.count(1)
            raise Wrong(f"of {SHARED} traces with an error {len(found)} were kept, {halves} of them without the other replica's span")
        return "traces of two replicas are whole"

    def check_otlp_http(self, name, requests):
        exporter = self.exporters[name]
        authorization = self.authorization(exporter)
        for signal in sorted(self.signals[name]):
            url = urlsplit(exporter.get(f"{signal}_endpoint") or exporter["endpoint"].rstrip("/") + f"/v1/{signal}")
            request = self.wait_for(requests, url, name)
            for header, value in (exporter.get("headers") or {}).items():
                if request["headers"].get(header.lower()) != str(value).strip():  # blanks around it are not of a header
                    raise Wrong(f"`{name}`: header `{header}` is {request['headers'].get(header.lower())!r}")
            if not authorization(request["headers"].get("authorization")):
                raise Wrong(f"`{name}`: Authorization is {request['headers'].get('authorization')!r}")
            self.check_content(*decode(signal, request["body"]))
        return f"{name}: {', '.join(sorted(self.signals[name]))} at {url.hostname}"

    def wait_for(self, requests, url, name):
        """The first request to a URL, once it is there."""
        tls = url.scheme == "https"
        wanted = (url.hostname, url.port or (443 if tls else 80), url.path, tls)
        got = []

        def arrived():
            got[:] = [r for r in list(requests) if "error" not in r and (r["host"], r["port"], r["path"], r["tls"]) == wanted]
            return got

        if not sandbox.wait_until(arrived, 15):
            others = [r.get("error") or f"{r['host']}:{r['port']}{r['path']}" for r in requests]
            raise Wrong(f"`{name}` sent nothing to {url.geturl()}; arrived: {others}; {last_line('collector.log')}")
        return got[0]

    def authorization(self, exporter):
        """Decides whether an Authorization header is the one that the exporter's authenticator promises."""
        authenticator = (exporter.get("auth") or {}).get("authenticator")
        if authenticator is None:
            return lambda header: True
        options = self.config["extensions"][authenticator] or {}
        match authenticator.split("/")[0]:
            case "basicauth":
                client = options["client_auth"]
                # The environment's own text: what YAML would make of it must not matter.
                return lambda header: header == basic(client["username"], client["password"])
            case "bearertokenauth":
                return lambda header: header == f"{options.get('scheme', 'Bearer')} {options['token']}"
            case "sigv4auth":
                scope = f"/{options['region']}/{options['service']}/aws4_request"
                return lambda header: (header or "").startswith("AWS4-HMAC-SHA256 ") and scope in header
            case "oauth2client":
                return lambda header: header == "Bearer stand-in-token"
            case other:
                raise Wrong(f"authenticator `{other}` has no check here")

    def check_xray(self, name, requests):
        exporter = self.exporters[name]
        region = exporter["region"]
        base = exporter.get("endpoint") or f"https://xray.{region}.amazonaws.com"
        request = self.wait_for(requests, urlsplit(base.rstrip("/") + "/TraceSegments"), name)
        signature = request["headers"].get("authorization", "")
        if f"/{region}/xray/aws4_request" not in signature:
            raise Wrong(f"`{name}`: Authorization is {signature[:80]!r}")
        segment = json.loads(json.loads(request["body"])["TraceSegmentDocuments"][0])
        if "conformance" not in segment["name"]:
            raise Wrong(f"`{name}`: the segment is of {segment['name']!r}")
        return f"{name}: traces at {urlsplit(base).hostname}"

    def check_elasticsearch(self, name, requests):
        exporter = self.exporters[name]
        url = urlsplit(exporter["endpoint"])

        def arrived(signal):
            return any(
                (r["host"], r["method"], r["path"].partition("?")[0]) == (url.hostname, "POST", "/_bulk")
                and r["headers"].get("authorization") == f"APIKey {exporter['api_key']}"
                and f'"_index":"{signal}-'.encode() in r["body"]
                and b"conformance" in r["body"]
                for r in list(requests)
                if "error" not in r
            )

        for signal in sorted(self.signals[name]):
            if not sandbox.wait_until(lambda: arrived(signal), 45):  # it sends every half minute
                got = [(r.get("path"), r.get("headers", {}).get("authorization"), r.get("body", b"")[:80]) for r in requests]
                raise Wrong(f"`{name}`: no {signal} in bulk; arrived: {got or last_line('collector.log')}")
        return f"{name}: {', '.join(sorted(self.signals[name]))} at {url.hostname}"

    def check_google(self, name):
        project = f"projects/{self.exporters[name]['project']}".encode()
        for signal in sorted(self.signals[name]):
            host, method = GOOGLE[signal]
            got = []

            def arrived():
                got[:] = [call for call in list(self.calls) if call["method"] == method and b"conformance" in call["body"]]
                return got

            if not sandbox.wait_until(arrived, 15):
                raise Wrong(f"`{name}`: no {method}; arrived: {[c['method'] for c in self.calls]}; {last_line('collector.log')}")
            if project not in got[0]["body"]:
                raise Wrong(f"`{name}`: {signal} are not of {project.decode()}")
            # A service account signs its own token; that of an account it acts for comes from the stand-in.
            token = "Bearer stand-in-token-of-another" if "impersonate" in self.exporters[name] else "Bearer "
            if not got[0]["headers"].get("authorization", "").startswith(token):
                raise Wrong(f"`{name}`: {signal} come without the token that they should")
        return f"{name}: {', '.join(sorted(self.signals[name]))} at Google Cloud's APIs"

    def check_acme(self, name):
        """The exporter of the golden tests' third party tells what it is given: every string as it was meant."""
        line = next(line for line in (sandbox.SCRATCH / "collector.log").read_text().splitlines() if "acme is given" in line)
        given = json.loads(line[line.index("{") :])
        given = {"token": given["token"], **(given.get("rest") or {})}
        if given != self.exporters[name]:
            raise Wrong(f"`{name}` is given {given}, not {self.exporters[name]}")
        return f"{name}: its options"

    def check_debug(self, name):
        counts = (self.exporters[name] or {}).get("verbosity", "basic") == "basic"
        told = {"traces": "conformance-span", "metrics": "conformance_counter", "logs": "conformance-log"}
        for signal in sorted(self.signals[name]):
            wanted = f'"otelcol.signal": "{signal}"' if counts else told[signal]
            if not sandbox.wait_until(lambda: wanted in (sandbox.SCRATCH / "collector.log").read_text(), 15):
                raise Wrong(f"`{name}`: no {wanted} in the collector's log")
        return f"{name}: {', '.join(sorted(self.signals[name]))} in the collector's log"

    def check_content(self, item, resource):
        if "conformance" not in item:
            raise Wrong(f"what arrived is {item!r}")
        promised = dict(pair.split("=", 1) for pair in self.workload["OTEL_RESOURCE_ATTRIBUTES"].split(","))
        for detection in self.processors("resource_detection"):
            promised |= cluster.detected(detection)
        for attributes in self.processors("k8s_attributes"):
            extract = attributes["extract"]
            promised |= {key: cluster.OF_THE_POD[key] for key in extract["metadata"] if key in cluster.OF_THE_POD}
            promised |= {label["tag_name"]: cluster.LABELS[label["key"]] for label in extract.get("labels") or []}
        for key, value in promised.items():
            if resource.get(key) != value:
                raise Wrong(f"resource attribute `{key}` is {resource.get(key)!r}, not {value!r}")

    def check_cluster(self, around):
        """What the processors asked of the cluster and the cloud, and what they found."""
        if around.refused:
            raise Wrong(f"the ClusterRole does not allow what the collector asks: {sorted(set(around.refused))}")
        for detection in self.processors("resource_detection"):
            line = next((line for line in (sandbox.SCRATCH / "collector.log").read_text().splitlines() if DETECTED in line), "{}")
            found = json.loads(line[line.index("{") :]).get("resource", {})
            for key, value in cluster.detected(detection).items():
                if found.get(key) != value:
                    raise Wrong(f"detected `{key}` is {found.get(key)!r}, not {value!r}: {found or last_line('collector.log')}")
            if of_the_machine := sorted(filter(cluster.OF_THE_MACHINE.match, found)):
                raise Wrong(f"detected for all telemetry, and true of the collector's machine only: {of_the_machine}")
        return "with what the cluster and the cloud say, as the ClusterRole allows it"

    def processors(self, kind):
        """Those of a type, by its name or the one in collector 0.120."""
        named = (kind, kind.replace("_", ""))
        return [body for name, body in (self.config.get("processors") or {}).items() if name.split("/")[0] in named]

    def stop(self, process):
        process.terminate()
        if process.wait(timeout=30):
            raise Wrong(f"the collector ended with {process.returncode}: {last_line('collector.log')}")


def decode(signal, body):
    """The name of the first span, metric or log record, and its resource."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    if signal == "traces":
        group = ExportTraceServiceRequest.FromString(body).resource_spans[0]
        item = group.scope_spans[0].spans[0].name
    elif signal == "metrics":
        group = ExportMetricsServiceRequest.FromString(body).resource_metrics[0]
        item = group.scope_metrics[0].metrics[0].name
    else:
        group = ExportLogsServiceRequest.FromString(body).resource_logs[0]
        item = group.scope_logs[0].log_records[0].body.string_value
    return item, {attribute.key: attribute.value.string_value for attribute in group.resource.attributes}


def get(url):
    """The body of a 200, else nothing."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.read()
    except OSError:
        return None


def last_line(log):
    lines = (sandbox.SCRATCH / log).read_text().strip().splitlines()
    telling = [line for line in lines if "error" in line.lower()] or lines or ["no output"]
    return telling[-1][-400:]


if __name__ == "__main__":
    main(*sys.argv[1:5], sys.argv[5:])
