"""Checks on what Helm rendered, for `run`, `values.py` and `releases.py`: python3 check.py COMMAND ARGUMENTS.

equal A B                   two manifests hold the same objects
same VALUES MANIFEST        what reaches the ConfigMaps, and the ExternalSecrets, equals the files beside VALUES
hard FILE                   its strings hold what Helm, the collector and YAML read as something else
documented CHART            the README's table lists every value, and the schema knows it
"""

import functools
import json
import pathlib
import re
import sys

import yaml


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML as the collector and Helm read it: 1e+06 is a number, `on` and 12:30 are strings."""


Loader.yaml_implicit_resolvers = {}
for tag, pattern, first in [
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", list("-+.0123456789")),
]:
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)


def read(path):
    return yaml.load(pathlib.Path(path).read_text(), Loader)


@functools.cache
def object_of(document):
    """Most documents are in many manifests, to the byte."""
    return yaml.load(document, Loader)


def documents(manifest):
    return [text for text in re.split(r"^---(?=\s|$)", manifest, flags=re.MULTILINE) if object_of(text)]


def objects(manifest):
    return [object_of(text) for text in documents(manifest)]


def namespace(values):
    """The namespace that the values were rendered for."""
    for entry in values.get("workloads", {}).get("env", []):
        if entry["name"] == "OTEL_EXPORTER_OTLP_ENDPOINT":
            host = re.sub(r"^[a-z]+://([^:/]+).*$", r"\1", entry["value"]).split(".")
            if len(host) > 2 and host[2] == "svc":
                return host[1]
    return "floe"


def differences(folder, data, manifest):
    """Where what reaches the ConfigMaps is not what the files in `folder` say."""
    maps = {}
    for document in objects(manifest):
        if document["kind"] == "ConfigMap":
            maps.setdefault(document["metadata"]["name"], document["data"])
    collector = data.get("otel", {}).get("fullnameOverride", "otel-collector")
    if data.get("otel", {}).get("mode") == "statefulset":
        collector += "-statefulset"
    workload = data.get("workloads", {}).get("configMapName", "floe-workload")
    different = []
    for file, name, key in [
        ("collector.yaml", collector, "relay"),
        ("openlineage.yml", workload, "openlineage.yml"),
        ("workload.env.yaml", workload, "workload.env.yaml"),
    ]:
        if not (folder / file).exists():
            continue
        wanted = object_of((folder / file).read_text())
        text = maps.get(name, {}).get(key)
        if text is None:
            different.append(f"{file}: ConfigMap `{name}` has no `{key}`")
            continue
        if object_of(text) != wanted:
            different.append(f"{file}: ConfigMap `{name}`, `{key}` holds something else:\n{text}")
        # The Python client reads YAML 1.1, where some plain text means something else.
        if key == "openlineage.yml" and yaml.safe_load(text) != wanted:
            different.append(f"{file}: the Python client reads `{key}` as something else:\n{text}")
    literals = maps.get(f"{workload}-env", {})
    for entry in data.get("workloads", {}).get("env", []):
        plain = "value" in entry and "$" not in entry["value"]
        if plain and literals.get(entry["name"]) != entry["value"]:
            different.append(f"ConfigMap `{workload}-env` has no `{entry['name']}`")
        if "valueFrom" in entry and entry["name"] in literals:
            different.append(f"ConfigMap `{workload}-env` holds the secret variable `{entry['name']}`")
    return different + secret_differences(folder, data, manifest)


def difference(one, other):
    """The first difference between the objects of two manifests."""
    one, other = objects(one), objects(other)
    for a, b in zip(one, other):
        if a != b:
            return f"{a['kind']} `{a['metadata']['name']}` differs"
    if len(one) != len(other):
        return f"{len(one)} objects, and {len(other)}"
    return None


def same(values, manifest):
    different = differences(pathlib.Path(values).parent, read(values), pathlib.Path(manifest).read_text())
    if different:
        sys.exit("\n".join(different))


def secret_differences(folder, data, manifest):
    """Where the volumes for jobs, or the Secrets that the External Secrets Operator makes, are not what `folder` says."""
    different = []
    asked, issued, mounted = {}, set(), {}
    for document in objects(manifest):
        kind = document["kind"]
        if kind == "ExternalSecret":
            keys = {entry["secretKey"] for entry in document["spec"].get("data", [])}
            asked[document["metadata"]["namespace"], document["metadata"]["name"]] = keys
        if kind == "Certificate":
            issued.add(document["spec"]["secretName"])
        if kind == "ConfigMap" and "workload.env.yaml" in document["data"]:
            text = document["data"].get("workload.volumes.yaml", "{}")
            mounted[document["metadata"]["namespace"]] = object_of(text)
    workloads = data.get("workloads", {})
    volumes = {key: workloads[key] for key in ("volumes", "volumeMounts") if workloads.get(key)}
    for place, given in mounted.items():
        if given != volumes:
            different.append(f"ConfigMap in `{place}`: `workload.volumes.yaml` holds something else: {given}")
    if not data.get("externalSecrets", {}).get("enabled") or not (folder / "artifacts.json").exists():
        return different
    # What is used in a namespace is there, and nothing else: a job's namespace holds no password of a database.
    here = namespace(data)
    wanted = {}
    for entry in json.loads((folder / "artifacts.json").read_text())["secrets"].values():
        for user in entry["used_by"]:
            for place in (workloads.get("namespaces") or [here]) if user == "workload" else [here]:
                if place != here or entry["name"] not in issued:
                    wanted.setdefault((place, entry["name"]), set()).add(entry["key"])
    for place in sorted(wanted.keys() | asked.keys()):
        if asked.get(place, set()) != wanted.get(place, set()):
            have, want = (", ".join(sorted(keys.get(place, set()))) or "nothing" for keys in (asked, wanted))
            different.append("ExternalSecret `{1}` in `{0}`".format(*place) + f" asks for {have}; used there: {want}")
    return different


def equal(a, b):
    sys.exit(difference(*(pathlib.Path(file).read_text() for file in (a, b))))


def hard(file):
    def strings(node):
        if isinstance(node, str):
            yield node
        for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
            yield from strings(below)

    text = "\0".join(strings(read(file)))
    missing = [repr(part) for part in ("{{", "}}", "$$", '"', "'", "`", "\n") if part not in text]
    if missing:
        sys.exit(f"{file}: no string holds " + ", ".join(missing))


def documented(chart):
    chart = pathlib.Path(chart)
    schema = json.loads((chart / "values.schema.json").read_text())
    # A subchart's keys are documented there, and the umbrella's table names the subchart.
    subcharts = {d.get("alias", d["name"]) for d in read(chart / "Chart.yaml").get("dependencies", [])}
    table = (chart / "README.md").read_text().split("\n## Values\n")[1]
    rows = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)

    def leaves(node, part, path):
        while "$ref" in node:
            node = schema["definitions"][node["$ref"].rsplit("/", 1)[1]]
        if path in subcharts or "properties" not in node:
            yield path
            return
        for key, value in node["properties"].items():
            if path == "" and key in ("global", "tags", "enabled"):
                continue
            yield from leaves(value, None, f"{path}.{key}".lstrip("."))

    known = set(leaves(schema, None, ""))
    covered = {leaf for leaf in known for row in rows if leaf == row or leaf.startswith(row + ".")}
    wrong = [f"not in the README's table: `{leaf}`" for leaf in sorted(known - covered)]
    wrong += [
        f"not in values.schema.json: `{row}`"
        for row in rows
        if not any(leaf == row or leaf.startswith(row + ".") for leaf in known)
    ]
    defaults = read(chart / "values.yaml")

    def missing(values, path):
        for key, value in values.items():
            here = f"{path}.{key}".lstrip(".")
            if here in subcharts:
                continue
            if here not in known and isinstance(value, dict):
                yield from missing(value, here)
            elif here not in known:
                yield f"in values.yaml, not in values.schema.json: `{here}`"

    wrong += missing(defaults, "")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    commands = [equal, same, hard, documented]
    {command.__name__: command for command in commands}[sys.argv[1]](*sys.argv[2:])
