#!/usr/bin/env python3
"""Writes the JSON Schemas of the values that the upstream charts read, from the charts at their pinned versions."""

import argparse
import difflib
import json
import pathlib
import re
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
OUTPUT = REPO / "schemas" / "charts"
CHARTS = REPO.parent / "shared" / "upstream" / "charts"

KEPT = {"type", "enum", "properties", "additionalProperties", "items", "anyOf", "$ref", "$defs", "minItems", "required"}
DROPPED = {"$schema", "title", "description", "default", "examples", "format", "errorMessage"}
TYPES = {
    "int-or-percentage": {"type": ["integer", "string"]},
    # Templates print scalars, so a number may stand for a string; `false` as a string is true to them.
    "string": {"type": ["string", "number", "boolean"]},
    "integer": {"type": ["integer", "string"]},
}


class Problem(Exception):
    pass


def from_schema(node, in_list=False):
    """The facts of a chart's own schema. What a mapping lacks, the chart's defaults fill: it requires nothing."""
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if key == "patternProperties" and list(value) == [".*"]:
            kept["additionalProperties"] = from_schema(value[".*"], in_list)
        elif key == "oneOf" and all(list(one) == ["required"] for one in value):
            continue
        elif key not in KEPT:
            # A mapping here is a property that upstream wrote beside `properties`: no validator reads it.
            if not isinstance(value, dict) and key not in DROPPED:
                raise Problem(f"the keyword `{key}` is not known to this tool")
        elif key in ("properties", "$defs"):
            kept[key] = {name: from_schema(below, in_list) for name, below in value.items()}
        elif key == "items":
            kept[key] = from_schema(value, True)
        elif key == "anyOf":
            kept[key] = [from_schema(one, in_list) for one in value]
        elif key == "required":
            if in_list and value:
                kept[key] = value
        else:
            kept[key] = from_schema(value, in_list)
    return kept


def from_values(value):
    """What a default tells: the keys of a mapping, and of what kind a value is."""
    if isinstance(value, dict):
        if not value:
            return {"type": "object"}
        return {"type": "object", "properties": {key: from_values(below) for key, below in value.items()}}
    if isinstance(value, list):
        return {"type": "array"}
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, (int, float)):
        return dict(TYPES["integer"])
    if isinstance(value, str):
        return dict(TYPES["string"])
    return {}


def join(schema, other):
    """Adds the properties that the schema lacks, where it is not closed itself."""
    if "properties" not in schema:
        return
    for key, below in other.get("properties", {}).items():
        if key in schema["properties"]:
            join(schema["properties"][key], below)
        elif schema.get("additionalProperties") is not False:
            schema["properties"][key] = below


def put(schema, path, type_name):
    *parents, last = path.split(".")
    for name in parents:
        schema = schema.setdefault("properties", {}).setdefault(name, {"type": "object"})
    if schema.get("additionalProperties") is False:
        raise Problem(f"extra `{path}`: the chart's schema refuses it")
    schema.setdefault("properties", {})[last] = dict(TYPES.get(type_name, {"type": type_name}))


def at(schema, path):
    for name in path.split("."):
        schema = schema.get("properties", {}).get(name, {})
    return schema


def close(schema, path, opened):
    """A mapping whose keys are known takes no other."""
    if path in opened:
        schema.clear()
        schema["type"] = "object"
        return
    for key, below in schema.get("properties", {}).items():
        close(below, f"{path}.{key}".lstrip("."), opened)
    if schema.get("properties"):
        schema.setdefault("additionalProperties", False)


def generate(chart, facts):
    name = chart.name
    manifest = yaml.safe_load((chart / "Chart.yaml").read_text())
    if manifest["version"] != facts["version"]:
        raise Problem(f"{chart}: version {manifest['version']}, and facts.yaml is of {facts['version']}")
    values = from_values(yaml.safe_load((chart / "values.yaml").read_text()))
    shipped = chart / "values.schema.json"
    schema = from_schema(json.loads(shipped.read_text())) if shipped.exists() else values
    if shipped.exists():
        join(schema, values)
    for path in facts.get("ignored", []):
        *parents, last = path.split(".")
        parent = at(schema, ".".join(parents)) if parents else schema
        if parent.get("properties", {}).pop(last, None) is None:
            raise Problem(f"ignored `{path}`: the chart has no such key")
    for keys in facts.get("extra", {}).values():
        for path, type_name in keys.items():
            put(schema, path, type_name)
    schema.setdefault("properties", {}).setdefault("global", {"type": "object"})
    close(schema, "", facts.get("open", []))
    source = "values.schema.json, values.yaml" if shipped.exists() else "values.yaml"
    comment = f"Written by tools/import-charts from {source} and the templates of the chart {name} {facts['version']}."
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": comment}
    return {**head, **schema}


def dump(value, indent=0):
    """JSON with what fits into one line on one line."""
    line = json.dumps(value)
    if not isinstance(value, dict) or indent + len(line) <= 120:
        return line
    inner = " " * (indent + 2)
    entries = [f"{inner}{json.dumps(key)}: {dump(below, indent + 2)}" for key, below in value.items()]
    return "{\n" + ",\n".join(entries) + "\n" + " " * indent + "}"


def reads(templates):
    """Every path below `.Values` that a template names, where variables stand for one too."""
    found = {}
    for file in sorted(templates.rglob("*")):
        if not file.is_file():
            continue
        text = re.sub(r"\{\{-?\s*/\*.*?\*/\s*-?\}\}", "", file.read_text(), flags=re.DOTALL)
        text = re.sub(r'hasKey (\S*\.Values[.\w]*) "(\w+)"', r"\1.\2", text)
        for variable, base in re.findall(r"\$(\w+) *:= *\$?\.Values((?:\.\w+)+)(?: *\|[^}]*)? *-?\}", text):
            if re.search(rf"\${variable}\)?\)?\.\w", text):
                # The variable's own keys are read, not all that stands below it.
                text = re.sub(rf"\${variable} *:= *\$?\.Values{re.escape(base)}", "", text)
                text = re.sub(rf"\(*\${variable}\)*((?:\.\w+|\)+)+)", lambda m, base=base: f".Values{base}{m[1].replace(')', '')}", text)
        for path in re.findall(r"\.Values((?:\.\w+)+)", text):
            found.setdefault(path[1:], file)
    # `.Values.Values` is what a helper calls the values that it was handed.
    return {re.sub(r"^Values\.", "", path): file for path, file in found.items() if path != "Values"}


def leaves(schema, path=""):
    if not schema.get("properties"):
        yield path
    for key, below in schema.get("properties", {}).items():
        yield from leaves(below, f"{path}.{key}".lstrip("."))


def refused(schema, path):
    """Whether the chart's own schema refuses a path, so that its templates never see it."""
    for name in path.split("."):
        if name not in schema.get("properties", {}):
            return schema.get("additionalProperties") is False
        schema = schema["properties"][name]
    return False


def check_templates(chart, facts, schema):
    """The templates against the schema: each key that they read is known, and each extra one is read where it is said."""
    wrong = []
    shipped = chart / "values.schema.json"
    own = json.loads(shipped.read_text()) if shipped.exists() else {}
    read = reads(chart / "templates")
    extra = {path: file for file, paths in facts.get("extra", {}).items() for path in paths}
    for path, file in extra.items():
        last = path.rsplit(".", 1)[-1]
        if not (chart / file).is_file() or last not in (chart / file).read_text():
            wrong.append(f"{chart.name}: {file} does not read `{path}`")
    for path, file in read.items():
        node = schema
        for name in path.split("."):
            if "properties" not in node or node.get("additionalProperties") not in (None, False):
                break
            if name not in node["properties"]:
                if refused(own, path):
                    break
                wrong.append(f"{chart.name}: {file.relative_to(chart)} reads `{path}`, which is not known")
                break
            node = node["properties"][name]
    for leaf in leaves(schema):
        known = any(leaf == one or leaf.startswith(one + ".") or one.startswith(leaf + ".") for one in read)
        if not known and leaf.split(".")[0] not in ("global", "enabled"):
            wrong.append(f"{chart.name}: no template reads `{leaf}`")
    for path in facts.get("ignored", []):
        if any(one == path or one.startswith(path + ".") for one in read):
            wrong.append(f"{chart.name}: `{path}` is not ignored: {read.get(path)} reads it")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail with a diff when a file would change")
    parser.add_argument("--charts", type=pathlib.Path, default=CHARTS, help="the charts; with templates, these are read too")
    options = parser.parse_args()
    if not options.charts.is_dir():
        print(f"skipped: there is no {options.charts} to take the charts from")
        return
    wrong = []
    try:
        for name, facts in yaml.safe_load((HERE / "facts.yaml").read_text()).items():
            chart = options.charts / name
            schema = generate(chart, facts)
            if (chart / "templates").is_dir():
                wrong += check_templates(chart, facts, schema)
            path = OUTPUT / f"{name}-{facts['version']}.json"
            text = dump(schema) + "\n"
            current = path.read_text() if path.is_file() else ""
            if options.check and current != text:
                lines = difflib.unified_diff(current.splitlines(), text.splitlines(), f"checked in/{path.name}", "generated", lineterm="")
                wrong.append("\n".join(lines))
            elif not options.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    except Problem as problem:
        sys.exit(f"error: {problem}")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
