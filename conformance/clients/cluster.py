"""What a collector asks of the cluster and the cloud that it runs in, as far as its processors ask: the Kubernetes API where
every pod finds it, and the metadata servers of Google, Azure and Amazon where every machine finds them.

The API gives what the rules of the rendered ClusterRole allow, to who shows the pod's own token, and nothing else. What
is asked and answered is described by Kubernetes (API concepts: watch lists and bookmarks), and by the clouds' own pages.
"""

import contextlib
import json
import re
import subprocess
import threading
from urllib.parse import parse_qs, urlsplit

import sandbox
from case import POD

METADATA = "169.254.169.254"
CREATED = "2026-01-01T00:00:00Z"


def _object(kind, name, uid, version="v1", **more):
    metadata = {"name": name, "uid": uid, "creationTimestamp": CREATED, "resourceVersion": "1"}
    metadata |= more.pop("metadata", {})
    return {"kind": kind, "apiVersion": version, "metadata": metadata, **more}


def _owner(kind, name, uid):
    return {"ownerReferences": [{"kind": kind, "apiVersion": "apps/v1", "name": name, "uid": uid, "controller": True}]}


# The pod that sends is one of the Deployment `jobs`.
_NAMESPACE = {"namespace": "teams"}
LABELS = {"team": "conformance", "app.kubernetes.io/part-of": "floe", "pod-template-hash": "7d9c8b6f5"}
OBJECTS = {
    ("", "namespaces"): [_object("Namespace", "kube-system", "uid-of-cluster"), _object("Namespace", "teams", "uid-of-teams")],
    ("", "nodes"): [
        _object(
            "Node", POD["OTEL_K8S_NODE_NAME"], "uid-of-node",
            metadata={"labels": {"topology.kubernetes.io/zone": "eu-central-1a", "topology.kubernetes.io/region": "eu-central-1"}},
            spec={"providerID": "aws:///eu-central-1a/i-0123456789abcdef0"},
        ),
    ],
    ("", "pods"): [
        _object(
            "Pod", "jobs-7d9c8b6f5-x2x4z", "uid-of-pod",
            metadata=_NAMESPACE | {"labels": LABELS} | _owner("ReplicaSet", "jobs-7d9c8b6f5", "uid-of-set"),
            spec={"nodeName": POD["OTEL_K8S_NODE_NAME"], "containers": [{"name": "job", "image": "job:1"}]},
            status={"podIP": sandbox.HERE, "podIPs": [{"ip": sandbox.HERE}], "phase": "Running", "startTime": CREATED},
        ),
    ],
    ("apps", "replicasets"): [
        _object(
            "ReplicaSet", "jobs-7d9c8b6f5", "uid-of-set", "apps/v1",
            metadata=_NAMESPACE | _owner("Deployment", "jobs", "uid-of-deployment"),
        ),
    ],
    ("config.openshift.io", "infrastructures"): [
        {
            "metadata": {"name": "cluster"},
            "status": {"infrastructureName": "openshift-1", "platformStatus": {"type": "AWS", "aws": {"region": "eu-central-1"}}},
        },
    ],
}

KINDS = {
    "infrastructures": "Infrastructure", "namespaces": "Namespace", "nodes": "Node", "pods": "Pod", "replicasets": "ReplicaSet",
}

# What the processors say of a pod, by the names in `extract.metadata`.
OF_THE_POD = {
    "k8s.namespace.name": "teams",
    "k8s.pod.name": "jobs-7d9c8b6f5-x2x4z",
    "k8s.pod.uid": "uid-of-pod",
    "k8s.node.name": POD["OTEL_K8S_NODE_NAME"],
    "k8s.deployment.name": "jobs",
}
# What each detector finds.
DETECTED = {
    "gcp": {
        "cloud.provider": "gcp",
        "cloud.platform": "gcp_kubernetes_engine",
        "cloud.account.id": "project-1",
        "cloud.region": "europe-west3",
        "k8s.cluster.name": "gke-1",
    },
    "aks": {"cloud.provider": "azure", "k8s.cluster.name": "aks-1"},
    "azure": {"cloud.provider": "azure", "cloud.region": "westeurope", "cloud.account.id": "subscription-1"},
    "eks": {
        "cloud.provider": "aws",
        "cloud.platform": "aws_eks",
        "cloud.region": "eu-central-1",
        "cloud.account.id": "123456789012",
        "k8s.cluster.name": "eks-1",
    },
    "openshift": {"k8s.cluster.name": "openshift-1"},
    "k8s_api": {"k8s.cluster.uid": "uid-of-cluster"},
}
# What is true of the collector's own machine only.
OF_THE_MACHINE = re.compile(r"host\.|os\.|azure\.vm\.|gcp\.gce\.")

_ISSUER = "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF"
_METADATA = {
    "/computeMetadata/v1/project/project-id": "project-1",
    "/computeMetadata/v1/instance/id": "1234567890",
    "/computeMetadata/v1/instance/attributes/cluster-name": "gke-1",
    "/computeMetadata/v1/instance/attributes/cluster-location": "europe-west3",
    "/computeMetadata/v1/instance/zone": "projects/1/zones/europe-west3-a",
    "/metadata/instance/compute": json.dumps(
        {
            "location": "westeurope", "name": "vm-1", "vmId": "vm-id", "vmSize": "Standard_D2", "subscriptionId": "subscription-1",
            "resourceGroupName": "MC_group_aks-1_westeurope", "osProfile": {"computerName": "vm-1"},
        }
    ),
}


def detected(processor):
    """What one resource detection processor must find; of two detectors that find the same, the first says what it is."""
    found = {}
    for name in processor["detectors"]:
        found = DETECTED[{"k8sapi": "k8s_api"}.get(name, name)] | found
    return found


@contextlib.contextmanager
def running(authority, rules):
    """The API with a role's rules, and the metadata servers."""
    here = Here(rules)
    servers = []
    addresses = {POD["KUBERNETES_SERVICE_HOST"]: (int(POD["KUBERNETES_SERVICE_PORT"]), _Api), METADATA: (80, _Metadata)}
    for address, (port, handler) in addresses.items():
        subprocess.run(["ip", "addr", "replace", f"{address}/32", "dev", "here"], check=True)
        server = sandbox.Server((address, port), here, authority, handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield here
    finally:
        here.over.set()
        for server in servers:
            server.shutdown()
            server.server_close()


class Here:
    def __init__(self, rules):
        self.rules, self.over = rules, threading.Event()
        self.requests = []  # what could not be read
        self.watched, self.refused = [], []  # kinds of objects, once for each watch; requests that no rule allows

    def allows(self, verb, group, resource, name):
        """RBAC: one rule has it all."""
        return any(
            verb in rule["verbs"]
            and group in rule["apiGroups"]
            and resource in rule["resources"]
            and (not rule.get("resourceNames") or name in rule["resourceNames"])
            for rule in self.rules
        )


class _Api(sandbox.Quiet):
    def do_GET(self):
        here, url = self.server.owner, urlsplit(self.path)
        if self.headers.get("Authorization") != "Bearer token":
            return self.fail(401, "Unauthorized")
        if url.path == "/.well-known/openid-configuration":
            return self.say(200, {"issuer": _ISSUER})
        place = re.fullmatch(r"/(?:api|apis/([^/]+))/v1(?:/namespaces/([^/]+)(?=/))?/([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?", url.path)
        if not place:
            return self.fail(404, "NotFound")
        group, namespace, kind, name, sub = place.groups()
        group, query = group or "", {key: values[0] for key, values in parse_qs(url.query).items()}
        watch = query.get("watch") in ("true", "1")
        verb = "get" if name else "watch" if watch else "list"
        if not here.allows(verb, group, f"{kind}/{sub}" if sub else kind, name):
            here.refused.append(f"{verb} {url.path}")
            return self.fail(403, "Forbidden")
        items = [
            item
            for item in OBJECTS.get((group, kind), [])
            if namespace in (None, item["metadata"].get("namespace")) and name in (None, item["metadata"]["name"])
        ]
        if name:
            return self.say(200, items[0]) if items else self.fail(404, "NotFound")
        version = f"{group}/v1".lstrip("/")
        if not watch:
            return self.say(200, {"kind": f"{KINDS[kind]}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        if query.get("sendInitialEvents") == "true":
            end = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
            self.events("ADDED", *items)
            self.events("BOOKMARK", {"kind": KINDS[kind], "apiVersion": version, "metadata": end})
        here.watched.append(kind)
        here.over.wait()
        self.close_connection = True

    def events(self, kind, *objects):
        for one in objects:
            self.wfile.write(json.dumps({"type": kind, "object": one}).encode() + b"\n")
        self.wfile.flush()

    def fail(self, code, reason):
        self.say(code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code})


class _Metadata(sandbox.Quiet):
    def do_GET(self):
        path = urlsplit(self.path).path
        google = path.startswith("/computeMetadata/") or path == "/"
        if not google and self.headers.get("Metadata") != "true":  # Azure's condition; Amazon's is a token that none gets here
            return self.say(404, "")
        text = _METADATA.get(path, "" if path == "/" else None)
        self.say(404 if text is None else 200, text or "", {"Metadata-Flavor": "Google"} if google else {})

    def do_PUT(self):
        self.say(404, "")
