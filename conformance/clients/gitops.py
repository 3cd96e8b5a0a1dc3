"""Asks the programs of `docs/gitops.md` what they make of its files: a Kubernetes API server that knows the kinds of Argo
CD, Flux, cert-manager and the External Secrets operator from their own definitions, actionlint, and pre-commit.

usage: gitops.py RENDER ACTIONLINT CACHE

The API server refuses an object as it would from `kubectl apply`: unknown and missing keys, values that are not among those
allowed, and the rules that a definition states. RENDER may be missing; the hooks are not run then. `# says:` in a
file under `gitops/refused` is what must stand in its refusal.
"""

import contextlib
import json
import os
import pathlib
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import report
import yaml

HERE = pathlib.Path(__file__).parent.parent
ROOT = HERE.parent
DOCUMENT = ROOT / "docs/gitops.md"
WORKFLOW = ROOT / "docs/examples/ci/github.yaml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
HOOK_CONFIG = ".pre-commit-config.yaml"
# Objects of operators that the charts write: what conformance/helm/apiserver has no definitions for.
OF_OPERATORS = {"Certificate", "ExternalSecret"}


def main(render, actionlint, cache):
    files = dict(shown(DOCUMENT.read_text()))
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        with ApiServer(scratch) as server:
            for definition in definitions(pathlib.Path(cache)):
                server.define(definition.read_text())
            for name, text in files.items():
                if name != HOOK_CONFIG and not yaml.safe_load(text)["apiVersion"].startswith("floe.dev/"):
                    judge(f"{DOCUMENT.name}: {name}", server.refusal(text))
            for name, text in rendered(scratch):
                judge(name, server.refusal(text))
            for file in sorted((HERE / "gitops/refused").glob("*.yaml")):
                judge(file.stem, server.refusal(file.read_text()), says(file))
        lint = [actionlint, "-no-color", "-shellcheck=", "-pyflakes="]
        judge(f"actionlint: {WORKFLOW.name}", said([*lint, WORKFLOW]))
        for file in sorted((HERE / "gitops/refused/workflows").glob("*.yaml")):
            judge(f"actionlint: {file.stem}", said([*lint, file]), says(file))
        hooks(scratch, files[HOOK_CONFIG], pathlib.Path(render))
    report.close()


def judge(case, refusal, expected=None):
    """What was written must be accepted; a control must be refused with the text that it names."""
    if expected is None and refusal:
        report.refused("gitops", case, refusal)
    elif expected and expected not in refusal:
        report.refused("gitops", case, f"is not refused with `{expected}`, but: {refusal or 'accepted'}")
    else:
        report.accepted("gitops", case, f"refused: {expected}" if expected else "")


def says(file):
    return re.match(r"# says: (.+)\n", file.read_text())[1]


def said(command, **options):
    """Nothing where the command succeeds, and what it said where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    return "" if done.returncode == 0 else done.stdout or f"ended with {done.returncode}"


def shown(document):
    """The YAML files of a document, by the name in the first comment of each."""
    for block in re.findall(r"^```yaml\n(.*?)^```$", document, re.MULTILINE | re.DOTALL):
        yield re.match(r"# (\S+)\n", block)[1], block


def definitions(cache):
    """The CustomResourceDefinitions that `gitops/crds` lists, taken from modules whose checksum is the one beside them."""
    for line in (HERE / "gitops/crds").read_text().splitlines():
        if line.startswith("#"):
            continue
        module, version, checksum, path = line.split()
        copy = cache / f"{version}-{pathlib.Path(path).name}"
        if not copy.exists():
            print(f"fetching {module} {version}", file=sys.stderr)
            download = ["go", "mod", "download", "-json", f"{module}@{version}"]
            there = json.loads(subprocess.run(download, cwd="/", stdout=subprocess.PIPE, text=True).stdout)
            if there.get("Sum") != checksum:
                sys.exit(f"{module} {version} is not what gitops/crds lists: {there.get('Error') or there['Sum']}")
            cache.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pathlib.Path(there["Dir"], path), copy)
        yield copy


def rendered(scratch):
    """The operators' objects in what Helm makes of our charts with every rendered file of values that asks for them."""
    binaries = tools(HERE / "helm/tools")
    subprocess.run([HERE / "helm/stand-ins", scratch / "stand-ins"], check=True, stdout=2, stderr=subprocess.DEVNULL)
    chart = scratch / "floe-observability"
    shutil.copytree(ROOT / "charts/floe-observability", chart, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
    shutil.copytree(scratch / "stand-ins", chart / "charts")
    shutil.copytree(ROOT / "charts/marquez", chart / "charts/marquez")
    store = "externalSecrets.enabled=true,externalSecrets.secretStoreRef.name=vault"
    cases = [(values, "") for values in sorted(HERE.glob("helm/cases/*/values.yaml"))]
    for values in sorted(ROOT.glob("golden-tests/*/expected/values.yaml")):
        if "kind: Certificate" in values.read_text():
            cases.append((values, ""))
    cases += [(ROOT / f"golden-tests/{pair}/expected/values.yaml", store) for pair in ("pair_datadog_atlan", "pair_jaeger_marquez")]
    found = set()
    for values, extra in cases:
        command = [binaries["helm4"], "template", "obs", chart, "--namespace", "floe", "--values", values, "--set", extra]
        done = subprocess.run(command, capture_output=True, text=True)
        name = values.parent.name if values.parent.name != "expected" else values.parent.parent.name
        if done.returncode:
            report.refused("gitops", name, done.stderr)
        for text in done.stdout.split("\n---\n"):
            content = yaml.safe_load(text)
            if content and content["kind"] in OF_OPERATORS:
                found.add(content["kind"])
                yield f"{name}: {content['kind']} {content['metadata']['name']}", text
    for kind in OF_OPERATORS - found:
        report.refused("gitops", kind, "no case renders one")


def tools(*command):
    """What a script of `helm/` has built: paths by name."""
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {line.split()[0]: line.split()[-1] for line in lines}


class ApiServer:
    """The server that `helm/apiserver` builds, on loopback, with etcd beside it, for as long as it is entered."""

    def __init__(self, scratch):
        self._scratch = scratch
        self._token = secrets.token_hex(16)
        # It signs its own certificate, for the time of this run.
        self._tls = ssl._create_unverified_context()
        self._running = contextlib.ExitStack()
        self._namespaces = set()

    def __enter__(self):
        try:
            self._begin()
        except BaseException:  # what runs already would outlive this program
            self._running.close()
            raise
        return self

    def _begin(self):
        server, etcd = (tools(HERE / "helm/apiserver", "--build")[name] for name in ("kube-apiserver", "etcd"))
        client, peer, port = free_ports(3)
        client, peer, self._base = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}", f"https://127.0.0.1:{port}"
        at, key = self._scratch, self._scratch / "account.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, stderr=subprocess.DEVNULL)
        (at / "tokens.csv").write_text(f"{self._token},admin,1,system:masters\n")
        self._start(
            "etcd", etcd, f"--data-dir={at / 'etcd'}", "--unsafe-no-fsync", f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )  # fmt: skip
        self._start(
            "server", server, f"--etcd-servers={client}", "--bind-address=127.0.0.1", f"--secure-port={port}",
            f"--cert-dir={at / 'certificates'}", f"--token-auth-file={at / 'tokens.csv'}", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
        )  # fmt: skip
        self._wait("it is not ready", lambda: self._ask("GET", "/readyz"))
        version = self._ask("GET", "/version")["gitVersion"]
        report.note(f"gitops: admitted by Kubernetes {version}")

    def __exit__(self, *_):
        self._running.close()

    def _start(self, name, *command):
        log = self._running.enter_context((self._scratch / f"{name}.log").open("w"))
        process = subprocess.Popen(command, stdout=log, stderr=log, env={"ETCD_UNSUPPORTED_ARCH": os.uname().machine, **os.environ})
        self._running.callback(process.wait)
        self._running.callback(process.terminate)

    def _wait(self, reason, question):
        for _ in range(600):
            with contextlib.suppress(OSError):
                if question():
                    return
            time.sleep(0.1)
        sys.exit(f"the API server: {reason}: {(self._scratch / 'server.log').read_text()[-2000:]}")

    def _ask(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self._token}"} | ({"Content-Type": "application/yaml"} if body else {})
        request = urllib.request.Request(self._base + path, body and body.encode(), headers, method=method)
        with urllib.request.urlopen(request, context=self._tls) as answer:
            text = answer.read().decode()
            return json.loads(text) if text.startswith("{") else text

    def define(self, text):
        definition = self._ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", text)
        spec = definition["spec"]
        self._wait(
            f"it does not serve {spec['names']['kind']}",
            lambda: all(
                self._path(f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                for version in spec["versions"]
                if version["served"]
            ),
        )

    def _path(self, version, kind):
        """The kind's plural name and whether it lives in a namespace."""
        base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        for resource in self._ask("GET", base)["resources"]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                return base, resource["name"], resource["namespaced"]
        return None

    def refusal(self, text):
        """What the server says against this object, `""` if it would take it."""
        content = yaml.safe_load(text)
        version, kind = content["apiVersion"], content["kind"]
        try:
            served = self._path(version, kind)
        except urllib.error.HTTPError:
            served = None
        if not served:
            return f"the server serves no {kind} of {version}"
        base, plural, namespaced = served
        namespace = content["metadata"].get("namespace", "floe")
        if namespaced and namespace not in self._namespaces:
            self._namespaces.add(namespace)
            meta = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            with contextlib.suppress(urllib.error.HTTPError):  # it has `default` of its own accord
                self._ask("POST", "/api/v1/namespaces", json.dumps(meta))
        at = f"{base}/namespaces/{namespace}/{plural}" if namespaced else f"{base}/{plural}"
        try:
            self._ask("POST", f"{at}?dryRun=All&fieldValidation=Strict", text)
        except urllib.error.HTTPError as error:
            return json.loads(error.read())["message"]
        return ""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def hooks(scratch, config, render):
    """pre-commit reads our hooks and the document's config, and runs them in a repository of a user."""
    pre_commit = pathlib.Path(sys.executable).parent / "pre-commit"
    environment = {
        "HOME": str(scratch),
        "PATH": os.environ["PATH"],
        "PRE_COMMIT_HOME": str(scratch / "pre-commit"),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "floe@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    judge("pre-commit: our hooks", said([pre_commit, "validate-manifest", HOOKS], env=environment))
    for file in sorted((HERE / "gitops/refused/hooks").glob("*.yaml")):
        judge(f"pre-commit: {file.stem}", said([pre_commit, "validate-manifest", file], env=environment), says(file))
    user, ours = scratch / "user", scratch / "ours"
    user.mkdir()
    (user / HOOK_CONFIG).write_text(config)
    judge(f"pre-commit: {HOOK_CONFIG}", said([pre_commit, "validate-config", user / HOOK_CONFIG], env=environment))
    if not render.exists():
        report.skipped("gitops", "pre-commit: the hooks run", f"no {render.name}")
        return
    # What installs them is `cargo install`, which takes minutes; here they find the program that is built already.
    ours.mkdir()
    (ours / HOOKS.name).write_text(HOOKS.read_text().replace("language: rust", "language: system"))
    (user / HOOK_CONFIG).write_text(config.replace(yaml.safe_load(config)["repos"][0]["repo"], str(ours)))
    (user / "manifest.yaml").write_text(dict(shown(DOCUMENT.read_text()))["manifest.yaml"])
    environment["PATH"] = f"{render.parent.resolve()}:{environment['PATH']}"

    def do(*command, at=user):
        subprocess.run(command, cwd=at, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    for at in (ours, user):
        do("git", "init", "--quiet", at=at)
        if at == ours:
            do("git", "add", ".", at=at)
            do("git", "commit", "--quiet", "--message", "hooks", at=at)
            do("git", "tag", "v0.1.0", at=at)
    do("floe-render", "-f", "manifest.yaml", "-o", "rendered")
    do("floe-render", "bundle", "new", "telemetry", "acme", "bundles")
    do("git", "add", ".")
    run = [pre_commit, "run", "--all-files", "--color=never"]
    judge("pre-commit: the hooks run", said(run, cwd=user, env=environment))
    (user / "rendered/collector.yaml").write_text("receivers: {}\n")
    do("git", "add", ".")
    judge("pre-commit: the hooks tell of drift", said(run, cwd=user, env=environment), "- exit code: 3")


if __name__ == "__main__":
    main(*sys.argv[1:])
