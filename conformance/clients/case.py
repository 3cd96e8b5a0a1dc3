"""A rendered case, read the way the programs read it that will use it."""

import base64
import hashlib
import json
import pathlib
import re
import shlex

import yaml

_READER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KUBERNETES = re.compile(r"\$(?:(\$)|\(([^)]*)\))")
_LATE = re.compile(r"(\$\$)|\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")

# Values that a Secret may hold and that a careless pipeline changes on the way: numbers, literals, syntax.
NASTY = ["1e5", "$(HOME) $$x {{ y }}", "007", "null", "  a: b # c"]

# Exporters that no collector here has.
UNAVAILABLE = {
    "elasticsearch": "exporter `elasticsearch` needs a module that no registry has in version 0.158",
}

# Types that the 0.120 collector here lacks, because no registry has their modules in a version that fits.
UNAVAILABLE_IN_0_120 = ("file_storage", "googlecloud", "loadbalancing", "spanmetrics")

# In the cluster the pod's own identity supplies these.
AWS_IDENTITY = {
    "AWS_ACCESS_KEY_ID": "AKIASTANDIN",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}

# What Kubernetes and the collector's chart give every container.
POD = {
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "MY_POD_IP": "10.0.0.1",
    "OTEL_K8S_NODE_NAME": "node-1",
}


class Case:
    def __init__(self, directory):
        self.path = pathlib.Path(directory)
        parts = self.path.parts
        self.name = parts[-2] if parts[-1] == "expected" else parts[-1]

    def has(self, file):
        return (self.path / file).is_file()

    def yaml(self, file):
        return yaml.load((self.path / file).read_text(), _READER)

    def text(self, file):
        """What a file says after its first line, which names what it was rendered from."""
        return re.sub(r"\A# floe-render [^\n]*\n", "", self.text_of(file)) if self.has(file) else None

    def text_of(self, file):
        return (self.path / file).read_text()

    def artifacts(self):
        return json.loads((self.path / "artifacts.json").read_text())

    def target(self):
        """The collector version that the case is rendered for."""
        first = self.text_of("collector.yaml").partition("\n")[0] if self.has("collector.yaml") else ""
        stated = re.search(r"; for collector ([0-9.]+)$", first)
        return stated[1] if stated else "0.158.0"

    def command(self):
        """(directory, arguments) of the command line that rendered the case, if it is known."""
        own = self.path.name == "expected"
        line = self.path.parent / "cmd" if own else self.path.with_name(f"{self.path.name}.cmd")
        if not line.is_file():
            return None
        commands = line.read_text().strip().splitlines()
        words = shlex.split(commands[0])[1:]
        if len(commands) > 1 or not words or not words[0].startswith("-"):
            return None  # not a rendering alone
        words = [word for word in words if word != "--chart"]
        for flag in ("-o", "--output-dir"):
            if flag in words:
                at = words.index(flag)
                del words[at : at + 2]
        return line.parent.resolve(), words

    def collector_env(self, nasty):
        """What the collector's container gets, as the values bind it."""
        config = self.yaml("collector.yaml")
        entries = self.yaml("values.yaml")["otel"].get("extraEnvs") or []
        env = expand(entries, secret_for(config, nasty)) | POD
        for name, places in references(config).items():
            if name not in env and any(f"{name}:-" not in text for _, text in places):
                raise ValueError(f"`{name}` is in collector.yaml, and the values do not bind it")
        return env

    def entries(self, prefix, without=False):
        """Of `workload.env.yaml` what a consumer reads that knows these names, or all but these; all, where one is made of others."""
        every = self.yaml("workload.env.yaml")
        read = [entry for entry in every if entry["name"].startswith(prefix) != without]
        return every if "$(" in str(read) else read

    def digest(self, *parts):
        """Equal for cases whose parts say the same; a part is a file's name, or anything else that matters."""
        parts = [self.text(part) if isinstance(part, str) else part for part in parts]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def types(self):
        """Of the components in the collector's config."""
        config = self.yaml("collector.yaml")
        return {
            id.split("/")[0]
            for section in ("processors", "exporters", "extensions", "connectors")
            for id in config.get(section) or {}
        }

    def unavailable(self):
        """Why no collector here can read this case's config, if it is so."""
        reasons = UNAVAILABLE
        if self.target() == "0.120.0":
            reasons = {name: f"`{name}` cannot be had for collector 0.120" for name in UNAVAILABLE_IN_0_120}
        return "; ".join(reasons[name] for name in sorted(self.types() & set(reasons)))


def expand(entries, secret):
    """The environment that Kubernetes makes of `env:` entries: `$(X)` of what stands earlier, `$$` is `$`."""
    env = {}
    for entry in entries or []:
        if "valueFrom" in entry:
            reference = entry["valueFrom"].get("secretKeyRef")
            env[entry["name"]] = secret(entry["name"]) if reference else "10.0.0.1"
            continue

        def known(match):
            return "$" if match[1] else env.get(match[2], match[0])

        env[entry["name"]] = _KUBERNETES.sub(known, entry.get("value", ""))
    return env


def substitute(node, env, dollar="$"):
    """A document with `${env:X}` replaced and `$$` undone, as the collector means it; `dollar` is what `$$` becomes."""
    if isinstance(node, dict):
        return {key: substitute(value, env, dollar) for key, value in node.items()}
    if isinstance(node, list):
        return [substitute(value, env, dollar) for value in node]
    if isinstance(node, str):
        return _LATE.sub(lambda match: dollar if match[1] else env.get(match[2]) or match[3] or "", node)
    return node


def references(node):
    """The names in `${env:X}`, with where each of them stands."""
    found = {}

    def walk(node, path):
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, [*path, str(key)])
        elif isinstance(node, list):
            for value in node:
                walk(value, path)
        elif isinstance(node, str):
            for match in _LATE.finditer(node):
                if match[2]:
                    found.setdefault(match[2], []).append((path, node))

    walk(node, [])
    return found


def secret_for(document, nasty):
    """Chooses the value of each late-bound variable by the place it stands in: a host must be a host, the rest may be
    anything its consumer takes."""
    places = references(document)

    def secret(name):
        for path, text in places.get(name, []):
            if (value := _fitting(name, path, text)) is not None:
                return value
            if path[-1] == "username":
                return nasty.replace(":", "")  # basic authentication has no way to write one
            if path[-1] == "token":
                return nasty.replace(" ", "")  # RFC 6750 has no blank in a bearer token
            if path[-1].startswith("sasl."):
                return nasty.lstrip()  # librdkafka drops blanks at the beginning of any value
            if "custom_headers" in path:
                return nasty.strip()  # no header begins or ends with a blank
        return nasty

    return secret


def _fitting(name, path, text):
    key = path[-1].lower()
    if "://" in text or key in ("endpoint", "url", "host", "bootstrap.servers"):
        scheme, _, rest = text.rpartition("://")
        if not rest.startswith("${"):
            return "part-1"  # of a host name, such as a zone
        host = f"{name.lower().replace('_', '-')}.example.test"
        return f"https://{host}" if not scheme and key in ("endpoint", "url") else host
    if key == "region":
        return "eu-west-1"
    if key in ("domainid", "domain_id"):
        return "dzd_4fake2domain"
    if path[-2:] == ["api", "key"]:
        return "0123456789012345678901234567e012"  # Datadog takes hexadecimal only; this also reads as a number
    return None


def basic(username, password):
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
