#!/usr/bin/env python3
"""Writes the strict JSON Schemas of collector components from the schemas that upstream ships in its Go modules."""

import argparse
import difflib
import json
import pathlib
import subprocess
import sys
import tempfile

import yaml

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
OUTPUT = REPO / "schemas" / "collector"
UPSTREAM = REPO.parent / "shared" / "upstream" / "collector-schemas"

UNIT = "(ns|us|µs|μs|ms|s|m|h)"
NUMBER = "([0-9]+([.][0-9]*)?|[.][0-9]+)"
UNSIGNED = f"(0|({NUMBER}{UNIT})+)"

# What Go's url.Parse reads of http and https, in ASCII; a host must be there, or the first request fails.
ESCAPED = "([!-$&-~]|%[0-9A-Fa-f][0-9A-Fa-f])*"
HOST = r"([!$&-.0-9;=A-Z_a-z~]+|\[[0-9A-Fa-f:.]+\])"
URL = f"https?://([!$-.0-;=A-~]*@)?{HOST}(:[0-9]*)?([/?#]{ESCAPED})?"

# What Go's time.ParseDuration reads; a bare integer is taken as nanoseconds.
HELPERS = {
    "url": {
        "pattern": f"^{URL}$",
        "x-insecure": ["http:*"],
        "x-message": "must be a URL with a host, such as https://example.com:4318/path",
    },
    "url_or_empty": {
        "pattern": f"^(|{URL})$",
        "x-insecure": ["http:*"],
        "x-message": "must be a URL with a host, such as https://example.com:4318/path",
    },
    "duration": {"type": ["string", "integer"], "pattern": f"^[+-]?{UNSIGNED}$"},
    "duration_not_negative": {"type": ["string", "integer"], "pattern": f"^[+]?{UNSIGNED}$", "minimum": 0},
    "duration_positive": {
        "type": ["string", "integer"],
        "pattern": f"^[+]?{UNSIGNED}$",
        "allOf": [{"pattern": "[1-9]"}],
        "minimum": 1,
    },
}

# Go types that upstream names instead of describing.
GO_TYPES = {
    "any": {"type": ["string", "number", "boolean", "object", "array"]},
    "int": {"type": "integer"},
    "int32": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "int64": {"type": "integer"},
    "uint32": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    "uint64": {"type": "integer", "minimum": 0},
    "float32": {"type": "number"},
    "float64": {"type": "number"},
    "time.Duration": {"$ref": "#/$defs/duration"},
    "net/url.values": {
        "type": "object",
        "additionalProperties": {"type": ["array", "string"], "items": {"type": "string"}},
    },
    "go.opentelemetry.io/collector/component.ID": {
        "type": "string",
        "pattern": "^[A-Za-z][0-9A-Za-z_]*(/[^ $+<=>^`|~]+)?$",
    },
    "go.opentelemetry.io/collector/exporter/exporterhelper/internal/request.SizerType": {
        "type": "string",
        "enum": ["bytes", "items", "requests"],
    },
}

DROPPED = {"description", "x-customType", "x-pointer", "x-optional", "x-embed", "$defs"}
SUBSCHEMAS = {"items", "additionalProperties"}


class Problem(Exception):
    """A fact that is missing or that the importer does not understand."""


def merge(base, over):
    """`over` on top of `base`: mappings deeply, null removes, `required` and `allOf` add up, all else replaces."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif key in ("required", "allOf") and key in merged:
            merged[key] = merged[key] + [item for item in value if item not in merged[key]]
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def embeds(raw):
    """Upstream writes Go's embedded structs as `allOf`; ours is for rules, so theirs gets a name of its own."""
    raw = dict(raw)
    if "allOf" in raw:
        raw["x-embed"] = raw.pop("allOf")
    return raw


class Modules:
    """The pinned Go modules on disk."""

    def __init__(self, pins):
        self.pins = pins
        self.files = {}
        wanted = [f"{path}@{version}" for path, version in pins.items()]
        with tempfile.TemporaryDirectory() as empty:
            command = ["go", "mod", "download", "-json", *wanted]
            answer = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
        decoder, text, self.folders = json.JSONDecoder(), answer.stdout.strip(), {}
        while text:
            module, end = decoder.raw_decode(text)
            text = text[end:].lstrip()
            if module.get("Error"):
                raise Problem(f"{module['Path']} {module['Version']} cannot be had: {module['Error']}")
            self.folders[module["Path"]] = pathlib.Path(module["Dir"])
        if not self.folders:
            raise Problem(f"`go mod download` failed: {answer.stderr.strip()}")

    def module_of(self, package):
        owners = [path for path in self.pins if package == path or package.startswith(path + "/")]
        return max(owners, key=len, default=None)

    def short(self, package):
        """A name for a package that no other has: its module's, and the path inside it."""
        module = self.module_of(package) or package
        inside = [part for part in package[len(module):].split("/") if part not in ("", "internal")]
        return ".".join([module.rsplit("/", 1)[-1], *inside])

    def schema(self, package):
        """The schema file of a package, or an empty one where upstream has none."""
        if package not in self.files:
            module = self.module_of(package)
            path = module and self.folders[module] / package[len(module):].lstrip("/") / "config.schema.yaml"
            found = path and path.is_file()
            self.files[package] = yaml.safe_load(path.read_text()) if found else {}
        return self.files[package]


class Component:
    """One component type on its way to one file."""

    def __init__(self, modules, facts, spec):
        self.modules = modules
        self.facts = facts
        self.package = spec["package"]
        self.root = spec.get("def")
        self.defs = dict(HELPERS)

    def locate(self, ref, package):
        """(package, definition) that a reference in upstream's dialect means."""
        path, _, name = ref.rpartition(".")
        if not path:
            return package, ref
        if path.startswith("./"):
            return f"{package}/{path[2:]}", name
        if path.startswith("/"):
            core = package.startswith("go.opentelemetry.io/collector/")
            root = "go.opentelemetry.io/collector" if core else "/".join(package.split("/")[:3])
            return root + path, name
        return path, name

    def raw(self, package, name):
        """A definition as upstream has it, with our facts over it; an alias is followed to its end."""
        document = self.modules.schema(package)
        if name is None or (name == "config" and name not in document.get("$defs", {})):
            found = document
        else:
            found = document.get("$defs", {}).get(name, {})
        found = merge(embeds(found), self.facts.get((package, name or "config"), {}))
        if not set(found) - {"description", "$defs"}:
            raise Problem(f"{package}.{name} stands nowhere: neither upstream nor in packages/")
        if "$ref" in found and "properties" not in found and not found["$ref"].startswith("#/"):
            return self.raw(*self.locate(found["$ref"], package))
        return found, package, name

    def build(self, raw, package):
        """The strict form of one schema."""
        if "$ref" in raw and not raw["$ref"].startswith("#/"):
            rest = {key: value for key, value in raw.items() if key != "$ref"}
            target = self.reference(raw["$ref"], package, raw.get("x-optional", False))
            return merge(target, self.build(rest, package))
        custom = raw.get("x-customType")
        if raw.get("format") == "duration":
            custom = "time.Duration"
        if custom and raw.get("enum") is None:
            if custom not in GO_TYPES:
                raise Problem(f"unknown Go type `{custom}` in {package}")
            return merge(self.build(GO_TYPES[custom], package), self.build_plain(raw, {"type", "format"}, package))
        return self.build_plain(raw, set(), package)

    def build_plain(self, raw, without, package):
        built = {key: value for key, value in raw.items() if key not in DROPPED | without}
        for key in SUBSCHEMAS & set(built):
            if isinstance(built[key], dict):
                built[key] = self.build(built[key], package)
        if "properties" in built:
            built["properties"] = {
                name: value and self.build(value, package) for name, value in built["properties"].items()
            }
        # confmap splits a string at its commas where a list of strings is wanted.
        if built.get("type") == "array" and built.get("items") == {"type": "string"}:
            built["type"] = ["array", "string"]
        for part in raw.get("x-embed", ()):
            built = self.embed(built, part, package)
        if built.get("type") == "object":
            built.setdefault("additionalProperties", False)
            if built["additionalProperties"] is False:
                built.setdefault("properties", {})
        return built

    def embed(self, built, part, package):
        """The fields and rules of an embedded struct, as if they stood in the struct around it."""
        raw, home, _ = self.raw(*self.locate(part["$ref"], package))
        inner = self.build(raw, home)
        fields = merge(inner.pop("properties"), built.get("properties", {}))
        rules = inner.pop("allOf", [])
        order = inner.pop("x-ascending", []) + built.get("x-ascending", [])
        rest = {key: value for key, value in inner.items() if key not in ("type", "additionalProperties", "$comment")}
        built = merge({**built, "type": "object", "properties": fields}, {"allOf": rules + ([rest] if rest else [])})
        return {key: value for key, value in {**built, "x-ascending": order}.items() if value != []}

    def reference(self, ref, package, optional):
        """Objects are shared in `$defs`; anything smaller is written where it is used."""
        raw, home, name = self.raw(*self.locate(ref, package))
        if "properties" not in raw and "x-embed" not in raw and raw.get("type") != "object":
            return self.build(raw, home)
        if "additionalProperties" in raw:
            return self.build(raw, home)
        key = f"{self.modules.short(home)}.{name or 'config'}" + (".optional" if optional else "")
        if key not in self.defs:
            self.defs[key] = {}
            built = self.build(raw, home)
            if optional:
                built["properties"].setdefault("enabled", {"type": "boolean"})
            self.defs[key] = built
        return {"$ref": f"#/$defs/{key}"}

    def schema(self, rules):
        raw, home, _ = self.raw(self.package, self.root)
        built = merge(self.build(raw, home), self.build(rules, home))
        return {**built, "$defs": self.defs}


ORDER = ["$schema", "$comment", "$ref", "type", "additionalProperties", "required", "properties", "items"]
NAMED = ("properties", "$defs")


def ordered(schema, named=False):
    """Keywords in a fixed order, names alphabetically."""
    if isinstance(schema, list):
        return [ordered(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    rank = {} if named else {key: place for place, key in enumerate(ORDER)} | {"$defs": len(ORDER) + 1}
    keys = sorted(schema, key=lambda key: (rank.get(key, len(ORDER)), key))
    return {key: ordered(schema[key], not named and key in NAMED) for key in keys}


def reachable(schema):
    """Only the definitions that something refers to."""
    defs, found = schema.get("$defs", {}), set()

    def visit(node):
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).removeprefix("#/$defs/")
            if "$ref" in node and name not in found:
                if name not in defs:
                    raise Problem(f"`{node['$ref']}` is no helper")
                found.add(name)
                visit(defs[name])
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for item in node:
                visit(item)

    visit({key: value for key, value in schema.items() if key != "$defs"})
    schema["$defs"] = {name: defs[name] for name in sorted(found)}
    if not found:
        del schema["$defs"]
    return schema


def read(path):
    return yaml.safe_load(path.read_text())


def facts_of(specs):
    """Every fact found by hand, by (package, definition)."""
    facts = {}
    for spec in specs:
        for name, schema in spec.get("defs", {}).items():
            facts[(spec["package"], name)] = schema
    return facts


def generate(upstream, say):
    """{path under schemas/collector: text}"""
    modules = Modules(read(HERE / "modules.yaml"))
    packages = [read(path) for path in sorted((HERE / "packages").glob("*.yaml"))]
    files = {}
    for path in sorted((HERE / "components").glob("*/*.yaml")):
        label = f"{path.parent.name}/{path.stem}"
        spec = read(path)
        facts = facts_of([*packages, spec])
        source = spec.get("source")
        if "upstream" in spec:
            taken = upstream / spec["upstream"]
            if not taken.is_file():
                say(f"{label}: skipped, {spec['upstream']} is not in {upstream}")
                continue
            say(f"{label}: no module at this version; from {spec['upstream']}")
            modules.files[spec["package"]] = read(taken)
        elif source:
            say(f"{label}: no schema upstream; by hand from {source}")
        else:
            module = modules.module_of(spec["package"])
            if not module:
                raise Problem(f"{label}: the module of {spec['package']} is not in modules.yaml")
            folder = spec["package"][len(module):].lstrip("/")
            parts = ["config.schema.yaml", *spec.get("from", [])]
            source = f"{module} {modules.pins[module]}, " + ", ".join(f"{folder}/{part}".lstrip("/") for part in parts)
        try:
            built = reachable(Component(modules, facts, spec).schema(spec.get("rules", {})))
        except Problem as problem:
            raise Problem(f"{label}: {problem}") from problem
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": source}
        files[f"{label}.json"] = json.dumps(ordered({**head, **built}), indent=2, ensure_ascii=False) + "\n"
    return files


def compare(files, say):
    """Whether the checked-in files are what would be written; the differences are printed."""
    same = True
    for path in sorted(OUTPUT.glob("*/*.json")):
        name = path.relative_to(OUTPUT)
        if not (HERE / "components" / name.with_suffix(".yaml")).is_file():
            same = False
            say(f"{name}: no such component")
    for name, text in files.items():
        path = OUTPUT / name
        current = path.read_text() if path.is_file() else ""
        if current != text:
            same = False
            before, after = current.splitlines(True), text.splitlines(True)
            say("".join(difflib.unified_diff(before, after, f"checked in/{name}", f"generated/{name}")))
    return same


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail with a diff when a file would change")
    parser.add_argument("--upstream", type=pathlib.Path, default=UPSTREAM, help="schemas of what cannot be had as a module")
    options = parser.parse_args()
    try:
        files = generate(options.upstream, lambda line: print(line, file=sys.stderr))
    except Problem as problem:
        sys.exit(f"error: {problem}")
    if options.check:
        sys.exit(0 if compare(files, print) else "error: schemas differ; run tools/import-schemas/import_schemas.py")
    for name, text in files.items():
        path = OUTPUT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
