"""Releases the umbrella into the API server that `apiserver` started, and sees what comes of it.

python3 releases.py TOOLS WORK HERE GOLDEN RENDER VALUES...

TOOLS has the programs, WORK/charts/floe-observability is the umbrella and WORK/dependencies upstream's charts, HERE is this folder,
GOLDEN the golden tests. RENDER is floe-render, which writes charts where it is built. SERVER and TOKEN in the environment
are the server's port and the token of its administrator.

One process of each Helm does the upgrades; the first values, the switches and the checks of the checks are the command's.
"""

import http.client
import json
import os
import pathlib
import queue
import re
import ssl
import subprocess
import sys

import check
import many
from values import result

NAMESPACED = """
    api/v1:configmaps api/v1:services api/v1:serviceaccounts api/v1:persistentvolumeclaims api/v1:pods api/v1:secrets
    apis/apps/v1:deployments apis/apps/v1:statefulsets apis/apps/v1:daemonsets apis/batch/v1:jobs apis/batch/v1:cronjobs
    apis/networking.k8s.io/v1:networkpolicies apis/networking.k8s.io/v1:ingresses apis/policy/v1:poddisruptionbudgets
    apis/rbac.authorization.k8s.io/v1:roles apis/rbac.authorization.k8s.io/v1:rolebindings
""".split()
OF_THE_CLUSTER = "apis/rbac.authorization.k8s.io/v1:clusterroles apis/rbac.authorization.k8s.io/v1:clusterrolebindings".split()


class Server:
    """One connection to the API server, which signs its own certificate for the time of this run, on the loopback interface."""

    def __init__(self, port, token):
        insecure = ssl.create_default_context()
        insecure.check_hostname = False
        insecure.verify_mode = ssl.CERT_NONE
        self.connection = http.client.HTTPSConnection("127.0.0.1", int(port), context=insecure, timeout=60)
        self.token = token

    def call(self, method, path, body=None):
        """The status and the object that the server answers."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/yaml", "Accept": "application/json"}
        self.connection.request(method, path, body and body.encode(), headers)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def get(self, path):
        status, answer = self.call("GET", path)
        if status != 200:
            raise RuntimeError(f"{path}: {status}: {answer}")
        return answer

    def create(self, path, text):
        status, answer = self.call("POST", path, text)
        if status not in (200, 201):
            raise RuntimeError(f"{path}: {status}: {answer}")

    def namespace(self, name):
        self.create(
            "/api/v1/namespaces",
            json.dumps({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": name,
                    "labels": {
                        "pod-security.kubernetes.io/enforce": "restricted",
                        "pod-security.kubernetes.io/warn": "restricted",
                    },
                },
            }),
        )

    def names(self, path, selector=""):
        """Kind and metadata of what is there."""
        answer = self.get(path + selector)
        kind = answer["kind"].removesuffix("List")
        return [(kind, item["metadata"], item.get("type")) for item in answer["items"]]

    def left_behind(self, namespace, manifest):
        """What the server holds of the release, but the release's manifest does not."""
        wanted = {(item["kind"], item["metadata"]["name"]) for item in check.objects(manifest)}
        left = []
        for kind in OF_THE_CLUSTER:
            for name, metadata, _ in self.names("/" + kind.replace(":", "/"), "?labelSelector=app.kubernetes.io/managed-by%3DHelm"):
                if metadata["annotations"]["meta.helm.sh/release-namespace"] == namespace:
                    left.append((name, metadata["name"]))
        for kind in NAMESPACED:
            group, plural = kind.split(":")
            # Helm's own Secrets are the releases.
            selector = "?fieldSelector=type!=helm.sh/release.v1" if plural == "secrets" else ""
            for name, metadata, _ in self.names(f"/{group}/namespaces/{namespace}/{plural}", selector):
                if metadata["name"] != "kube-root-ca.crt":
                    left.append((name, metadata["name"]))
        left = [f"{kind} `{name}`" for kind, name in left if (kind, name) not in wanted]
        return f"not of the release in {namespace}: " + ", ".join(left) if left else None


class Release:
    """What an upgrade ended with: its error, what Helm said beside it, and the release's manifest and hooks."""

    def __init__(self, error, said, manifest, hooks):
        self.error, self.said, self.manifest, self.hooks = error, said, manifest, hooks
        self.warnings = "\n".join(line for line in said.splitlines() if re.search("PodSecurity|[Ww]arning", line))


class Helm:
    def __init__(self, tools, work, name):
        self.name, self.command = name, f"{tools}/{name}"
        self.answers, self.said = queue.Queue(), (work / f"{name}.said").open("w+")
        self.many = many.Many(tools, name, 1, self.answers, self.said)

    def upgrade(self, namespace, chart, values="", set_json=()):
        said = self.said.seek(0, os.SEEK_END)
        self.many.ask(None, "upgrade", chart, namespace, values, set_json)
        answer = self.answers.get()[2]
        self.said.seek(said)
        return Release(answer["error"], self.said.read(), answer["output"], answer["hooks"])

    def run(self, *arguments):
        return subprocess.run([self.command, *arguments], capture_output=True, text=True)

    def upgrade_by_command(self, namespace, chart, values="", set_json=()):
        arguments = [part for text in set_json for part in ("--set-json", text)]
        if values:
            arguments += ["--values", str(values)]
        ended = self.run("upgrade", "--install", "obs", str(chart), "--namespace", namespace, *arguments)
        if ended.returncode != 0:
            return Release(ended.stderr or f"ended with {ended.returncode}", ended.stderr, "", "")
        parts = (self.run("get", part, "obs", "--namespace", namespace).stdout for part in ("manifest", "hooks"))
        return Release("", ended.stderr, *parts)


def upgraded(server, helm, namespace, title, release):
    result(f"{helm.name} upgrade --install: {title}", release.error)
    result(f"no warning from the server, {helm.name}: {title}", release.warnings)
    result(f"nothing left behind, {helm.name}: {title}", server.left_behind(namespace, release.manifest))


def as_the_command(one, other):
    if one.error or other.error or (one.manifest.strip(), one.hooks.strip()) != (other.manifest.strip(), other.hooks.strip()):
        return f"the command released:\n{one.error or one.manifest + one.hooks}\nand here:\n{other.error or other.manifest + other.hooks}"
    return None


def install(server, helm4, helm3, umbrella, files):
    namespaces = set()
    for number, file in enumerate(files):
        folder = file.parent.parent if file.parent.name == "expected" else file.parent
        name, values = folder.name, check.read(file)
        namespace = check.namespace(values)
        for needed in [namespace, *values.get("workloads", {}).get("namespaces", [])]:
            if needed not in namespaces:
                namespaces.add(needed)
                server.namespace(needed)
        for helm in [helm4, helm3] if number % 8 == 0 else [helm4]:
            if number == 0:
                by_command = helm.upgrade_by_command(namespace, umbrella, file)
                upgraded(server, helm, namespace, f"{name}, by the command", by_command)
            release = helm.upgrade(namespace, umbrella, file)
            upgraded(server, helm, namespace, name, release)
            if number == 0:
                result(f"the command of {helm.name} releases the same: {name}", as_the_command(by_command, release))
        # The test's pod is admitted, not started.
        for pod in check.documents(release.hooks):
            if check.object_of(pod)["kind"] == "Pod":
                status, answer = server.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
                result(f"the pod of helm test is admitted: {name}", json.dumps(answer) if status != 201 else None)


def refuse(server, helm, umbrella, files):
    server.namespace("refused")
    by_command = True
    for file in files:
        if not re.search("^# chart: floe-observability$", file.read_text(), re.MULTILINE):
            continue
        upgrade = helm.upgrade_by_command if by_command else helm.upgrade
        by_command = False
        release = upgrade("refused", umbrella, file)
        deployed = [name["name"] for _, name, kind in server.names("/api/v1/namespaces/refused/secrets") if kind == "helm.sh/release.v1"]
        result(
            f"refused, and nothing is deployed: {file.stem}",
            None if release.error else "it was accepted",
            f"there is {deployed}" if deployed else None,
        )


def switch(server, helm, umbrella, golden):
    server.namespace("switch")
    for pair, names in [
        ("pair_jaeger_marquez", ["jaeger", "marquez", "marquez-web", "otel-collector"]),
        ("pair_datadog_atlan", ["otel-collector"]),
    ]:
        release = helm.upgrade_by_command("switch", umbrella, golden / pair / "expected/values.yaml")
        upgraded(server, helm, "switch", f"switching to {pair}", release)
        there = sorted(name["name"] for _, name, _ in server.names("/apis/apps/v1/namespaces/switch/deployments"))
        result(f"deployed after switching to {pair}: {' '.join(names)}", f"there are: {there}" if there != names else None)


def written(server, helm, render, work):
    for selection in ["--telemetry datadog --lineage marquez", "--telemetry jaeger --lineage atlan --set lineage.connection=dbt"]:
        chart = work / "obs"
        subprocess.run([render, *selection.split(), "-n", "switch", "-o", chart, "--chart"], check=True, stderr=subprocess.DEVNULL)
        (chart / "charts").mkdir(exist_ok=True)
        for name in ["opentelemetry-collector"] + ["jaeger"] * ("jaeger" in selection):
            subprocess.run(["cp", "-r", work / "dependencies" / name, chart / "charts"], check=True)
        release = helm.upgrade_by_command("switch", chart)
        upgraded(server, helm, "switch", f"the chart written by floe-render {selection}", release)


def checks_can_fail(server, helm, umbrella, golden):
    """A pod that violates the standard is told of, whoever upgrades, and so is an object of nobody."""
    values = golden / "pair_jaeger_marquez/expected/values.yaml"
    insecure = ["jaeger.jaeger.securityContext=null"]
    for upgrade, by in ((helm.upgrade_by_command, "by the command"), (helm.upgrade, "by the long-lived process")):
        release = upgrade("switch", umbrella, values, insecure)
        told = "would violate PodSecurity" in release.warnings
        result(f"the server warns of a pod that violates the standard, {by}", None if told else release.said or "it said nothing")
        helm.upgrade("switch", umbrella, values)
    server.create("/api/v1/namespaces/switch/configmaps", '{"metadata": {"name": "stray"}}')
    left = server.left_behind("switch", release.manifest) or "nothing"
    result("what a release does not own is found", None if "ConfigMap `stray`" in left else f"found: {left}")


def main(tools, work, here, golden, render, *files):
    work, here, golden, files = pathlib.Path(work), pathlib.Path(here), pathlib.Path(golden), map(pathlib.Path, files)
    server = Server(os.environ["SERVER"], os.environ["TOKEN"])
    umbrella = work / "charts/floe-observability"
    helm4, helm3 = (Helm(tools, work, name) for name in many.HELMS)
    install(server, helm4, helm3, umbrella, files)
    refuse(server, helm4, umbrella, sorted((here / "refused").glob("*.yaml")))
    switch(server, helm4, umbrella, golden)
    if os.access(render, os.X_OK):
        written(server, helm4, render, work)
    checks_can_fail(server, helm4, umbrella, golden)
    for helm in (helm4, helm3):
        helm.many.end()
        helm.many.process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
