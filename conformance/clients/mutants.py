"""Changes a collector config in one place, in the ways that people and templates get configs wrong, and in ways that
leave them right. Everything random comes from the generator that is passed in, so that a seed gives the same mutants.
"""

import copy
import json
import pathlib

SECTIONS = ("receivers", "processors", "exporters", "extensions", "connectors")
LISTS = ("receivers", "processors", "exporters")


class Raw(str):
    """A scalar as it stands in the file, unquoted."""


class Pairs:
    """A mapping in which a key may stand twice."""

    def __init__(self, pairs):
        self.pairs = list(pairs)


def text(node):
    """A config as one line of YAML: JSON, except where a mutant is meant not to be."""
    if isinstance(node, Raw):
        return str(node)
    if isinstance(node, (dict, Pairs)):
        pairs = node.items() if isinstance(node, dict) else node.pairs
        return "{" + ", ".join(f"{text(key)}: {text(value)}" for key, value in pairs) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(map(text, node)) + "]"
    return json.dumps(node, ensure_ascii=False)


# Where a change is made, and what it is.


def places(node, path=()):
    """Every (holder, key, path) below a node."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield node, key, (*path, key)
        yield from places(value, (*path, key))


def pick(rng, config, wanted=lambda value, path: True):
    found = [place for place in places(config) if wanted(place[0][place[1]], place[2])]
    return rng.choice(found) if found else (None, None, None)


def dotted(path):
    return ".".join(map(str, path))


def put(holder, key, value, path):
    before = holder[key]
    if isinstance(before, type(value)) and before == value:
        return None
    holder[key] = value
    return f"{dotted(path)}: {short(before)} -> {short(value)}"


def short(value):
    shown = text(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"


def rename(holder, old, new):
    """Renames a key in its place."""
    pairs = [(new if key == old else key, value) for key, value in holder.items()]
    holder.clear()
    holder.update(pairs)


def misspell(rng, word):
    at = rng.randrange(len(word))
    return rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz_") + word[at + 1 :],
            word + rng.choice(["s", "_", "x", "2"]),
            word.replace("_", rng.choice(["-", ""])),
            word.upper(),
            word.capitalize(),
            "".join(part.capitalize() for part in word.split("_")),
        ]
    )


# The kinds. Each changes the config it is given and says what it did, or returns None where it finds nothing to do.


def renamed_key(rng, config, schemas):
    def wanted(_value, path):
        return isinstance(path[-1], str) and not (len(path) == 2 and path[0] in SECTIONS)

    holder, key, path = pick(rng, config, wanted)
    new = misspell(rng, key)
    if not new or new in holder:
        return None
    rename(holder, key, new)
    return f"{dotted(path)} -> {new}"


WRONG = [1, -1, 0, 1.5, True, False, "", "text", "1", "true", [], ["text"], [{}], {}, {"key": "value"}, [[1]], 10**20]


def wrong_type(rng, config, schemas):
    return put_any(rng, config, WRONG)


def put_any(rng, config, values, wanted=lambda value, path: True):
    holder, key, path = pick(rng, config, wanted)
    return holder is not None and put(holder, key, copy.deepcopy(rng.choice(values)), path) or None


def unknown_component(rng, config, schemas):
    """A type that nobody has, or an ID that is none; references follow."""
    section = rng.choice([section for section in SECTIONS if config.get(section)])
    old = rng.choice(list(config[section]))
    kind, _, name = old.partition("/")
    kinds = sorted({one for (of, one) in schemas.components if of == section and one != kind})
    new = rng.choice(
        [
            misspell(rng, kind) + (f"/{name}" if name else ""),
            rng.choice(["jaeger", "logging", "zipkin", "kafka", "prometheus", "splunk_hec", "k8sattributes", "loki"]),
            rng.choice(kinds or ["none"]) + "/other",
            f"{kind}/",
            f"/{kind}",
            f"{kind}/two words",
            f"{kind}/a/b",
            f"{kind}/ü",
            f"{kind}/{'x' * 1100}",
            f" {old}",
            f"{kind} /{name}",
            f"{kind}/a.b-c_d:e@f",
            f"{kind}-x",
            f"1{kind}",
            "",
        ]
    )
    if new in config[section] or new in config.get("connectors", {}):
        return None
    rename(config[section], old, new)
    replace_references(config, old, new, exact=rng.random() < 0.9)
    return f"{section}.{old} -> {new}"


def replace_references(config, old, new, exact=True):
    for holder, key, path in list(places(config.get("service", {}))):
        if holder[key] == old and exact:
            holder[key] = new
    for holder, key, path in list(places(config)):
        if path[0] in SECTIONS and len(path) > 2 and isinstance(holder[key], str) and holder[key] == old:
            holder[key] = new


def is_reference(config, value, path):
    if path[:2] == ("service", "pipelines"):
        return len(path) == 5
    if path[:2] == ("service", "extensions"):
        return len(path) == 3
    return len(path) > 2 and path[0] in SECTIONS and path[-1] in ("authenticator", "storage")


def dangling_reference(rng, config, schemas):
    way = rng.randrange(4)
    if way == 0:  # what is named goes away
        section = rng.choice([section for section in SECTIONS if config.get(section)])
        gone = rng.choice(list(config[section]))
        del config[section][gone]
        if not config[section] and rng.random() < 0.5:
            del config[section]
        return f"{section}.{gone} is gone"
    holder, key, path = pick(rng, config, lambda value, path: is_reference(config, value, path))
    if holder is None:
        return None
    if way == 1:  # the name is another
        return put(holder, key, misspell(rng, holder[key]), path)
    if way == 2:  # nothing names it any more
        if isinstance(holder, list):
            gone = holder.pop(key)
            return f"{dotted(path)}: {gone} is gone"
        return put(holder, key, "", path)
    # A component of another section, or the same type under another name.
    others = [one for section in SECTIONS for one in config.get(section, {})]
    return put(holder, key, rng.choice([*others, holder[key] + "/other", holder[key].split("/")[0]]), path)


def swapped_signal(rng, config, schemas):
    pipelines = config["service"]["pipelines"]
    name = rng.choice(list(pipelines))
    signal, slash, rest = name.partition("/")
    new = rng.choice(["traces", "metrics", "logs", "profiles", "trace", "spans", "Traces", "", signal])
    if rng.random() < 0.5:
        new += slash + rest
    else:
        new += rng.choice(["/other", "/", "/a b", "", "/full"])
    if new in pipelines:
        if new == name or rng.random() < 0.5:
            return None
        pipelines[name], pipelines[new] = pipelines[new], pipelines[name]
        return f"pipelines {name} <-> {new}"
    rename(pipelines, name, new)
    return f"pipelines.{name} -> {new}"


DURATIONS = [
    "1s", "1h30m", "1.5s", ".5s", "5.s", "+1s", "0", "0s", "-1s", "-0s", "5", "5 s", " 5s", "1d", "1w", "1S", "1m30", "abc",
    "", "s", "1h-1m", "1e3s", "1_000s", "1µs", "1μs", "1us", "1ns", "1sec", "1min", "1:30", "9999999h", "999999999999999999s",
    "0.0000000001s", "1..5s", "٣s", 0, 5, -5, 1.5, 10**9, True, [], {}, "${env:NOT_SET:-5s}", "5s ", "0x5s", "1h 30m",
]  # fmt: skip

SECONDS = ("timeout", "interval", "period", "delay", "elapsed", "age", "duration", "wait", "time", "expiration")


def bad_duration(rng, config, schemas):
    keys = [place for place in schemas.keys(config) if place.kind == "duration"]
    if not keys:
        return None
    return rng.choice(keys).set(rng.choice(DURATIONS))


ENDPOINTS = [
    "", ":", ":4317", "host", "host:port", "host:4317", "host:99999", "host:-1", "host:0", "http://", "https://", "://host",
    "http:/host", "http//host", "http://host", "http://host:port", "https://host:99999", "https://host/path?q=1#f", "ftp://host",
    "HTTP://HOST", "//host", "host/path", "https://user:pass@host", "https://ho st", "https://host\n", "http://[::1]:4317", "::1",
    "[::1]:4317", "http://[::1", "localhost:4317:1", "unix:///tmp/x", "dns:///host:4317", "https://host:", "https://host%zz",
    " https://host", "https://höst", "http:host", "host:4317/path", "1.2.3.4", "0.0.0.0:4317", "https://${env:HOST}", "*:4317",
    "passthrough:///host:4317", "https:///path", "http://?", ".", "-", "host:43 17", "\u0000", "https://a,https://b", 4317, None,
]  # fmt: skip


def bad_endpoint(rng, config, schemas):
    keys = [place for place in schemas.keys(config) if place.path[-1] in ENDPOINT_KEYS or str(place.path[-1]).endswith(("_url", "_endpoint"))]
    return rng.choice(keys).set(rng.choice(ENDPOINTS)) if keys else None


ENDPOINT_KEYS = ("endpoint", "url", "proxy_url", "token_url", "sts_endpoint", "host", "server_name_override", "proxy_address")


def missing_key(rng, config, schemas):
    holder, key, path = pick(rng, config, lambda value, path: isinstance(path[-1], str))
    del holder[key]
    return f"{dotted(path)} is gone"


def null_body(rng, config, schemas):
    def wanted(value, path):
        return value is not None and (len(path) == 2 or rng.random() < 0.5)

    return put_any(rng, config, [None], wanted)


def emptied(rng, config, schemas):
    holder, key, path = pick(rng, config, lambda value, path: value not in ({}, [], ""))
    return put(holder, key, rng.choice([{}, [], "", type(holder[key])()]), path)


def duplicate_receiver(rng, config, schemas):
    """A receiver, or another component, twice: in a list, or as a key."""
    if rng.random() < 0.5:
        lists = [body[name] for body in config["service"]["pipelines"].values() for name in LISTS if body.get(name)]
        lists.append(config["service"].get("extensions") or ["none"])
        chosen = rng.choice(lists)
        one = rng.choice(chosen)
        chosen.insert(rng.randrange(len(chosen) + 1), one)
        return f"{one} twice in a list"
    return duplicated_key(rng, config, schemas, [section for section in SECTIONS if config.get(section)])


def duplicated_key(rng, config, schemas, sections=None):
    maps = [(config, section, (section,)) for section in sections or ()] or [
        (holder, key, path) for holder, key, path in places(config) if isinstance(holder[key], dict) and holder[key]
    ]
    holder, key, path = rng.choice(maps)
    pairs = list(holder[key].items())
    again, value = rng.choice(pairs)
    pairs.insert(rng.randrange(len(pairs) + 1), (again, copy.deepcopy(value) if rng.random() < 0.5 else {}))
    holder[key] = Pairs(pairs)
    return f"{dotted((*path, again))} twice"


def reordered(rng, config, schemas):
    """Keys in another order mean the same; lists in another order may not."""
    holder, key, path = pick(rng, config, lambda value, path: isinstance(value, (dict, list)) and len(value) > 1)
    value = holder[key]
    if isinstance(value, dict):
        pairs = list(value.items())
        rng.shuffle(pairs)
        holder[key] = dict(pairs)
    else:
        rng.shuffle(value)
    return f"{dotted(path)}: shuffled"


def known_key(rng, config, schemas):
    """A key that the component has, with a value that its schema takes."""
    keys = [place for place in schemas.keys(config) if not place.given]
    if not keys:
        return None
    place = rng.choice(keys)
    return place.set(schemas.value(rng, place.schema, place.root))


def several_known_keys(rng, config, schemas):
    said = [known_key(rng, config, schemas) for _ in range(rng.randint(2, 5))]
    return "; ".join(filter(None, said)) or None


def known_key_wrong_value(rng, config, schemas):
    keys = [place for place in schemas.keys(config) if isinstance(place.schema, dict)]
    if not keys:
        return None
    place = rng.choice(keys)
    return place.set(schemas.wrong_value(rng, place.schema, place.root))


def unknown_key(rng, config, schemas):
    """A key of another component, or of another place in the same one."""
    keys = schemas.keys(config)
    if len(keys) < 2:
        return None
    place, other = rng.choice(keys), rng.choice(keys)
    if other.path[-1] in place.holder:
        return None
    value = schemas.value(rng, other.schema, other.root)
    place.holder[other.path[-1]] = value
    return f"{dotted((*place.path[:-1], other.path[-1]))}: {short(value)}"


NUMBERS = [-1, 0, 1, 2, 99, 100, 101, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 0.5, 1.0, 1e3, -0.5, "5", "5.5", "0x10", 1e30]


def number_out_of_range(rng, config, schemas):
    keys = [place for place in schemas.keys(config) if place.kind == "number"]
    return rng.choice(keys).set(rng.choice(NUMBERS)) if keys else None


def wrong_word(rng, config, schemas):
    """A word that an enumeration does not have, or has in another case."""
    keys = [place for place in schemas.keys(config) if place.kind == "enum"]
    if not keys:
        return None
    place = rng.choice(keys)
    words = [word for word in place.schema["enum"] if isinstance(word, str)]
    word = rng.choice(words or ["none"])
    return place.set(rng.choice([word, word, word.upper(), word.capitalize(), word + "s", "", "other", f" {word}", 1, None]))


SCALARS = [
    "yes", "no", "on", "off", "y", "n", "True", "TRUE", "~", "null", "Null", "0777", "0o17", "0x1F", "0b11", "1_000", "1e3", ".5",
    "+1", "-0", ".inf", ".nan", "12:30:45", "2001-01-01", "1.0", "=", "<<", "!!str 5", "!!int 5", "!!binary aGk=", "007", "1.", "''",
]  # fmt: skip


def plain_scalar(rng, config, schemas):
    """Values that YAML 1.1 and YAML 1.2 read differently, unquoted."""
    keys = [place for place in schemas.keys(config) if place.kind != "object"]
    return rng.choice(keys).set(Raw(rng.choice(SCALARS))) if keys else None


TEXTS = [
    "${env:HOME}", "${HOME}", "${env:NOT_SET}", "${env:NOT_SET:-x}", "$HOME", "$$", "$", "${", "${}", "${env:}", "${env:a b}", "}",
    "${file:/etc/hostname}", "${yaml:a: 1}", "${http://host}", "${nothing:x}", "$${env:HOME}", "$$$", "a$b", "${env:${env:X}}", "{{ x }}",
    "${env:NOT_SET", "$(X)", "%", "\t", "a\nb", "🙂", "\u2028", " ", "#", "a: b", "-", "'", '"', "\\", "\\n", "*", "&a", "!", "|", ">",
]  # fmt: skip


def reference_or_text(rng, config, schemas):
    """Strings that the collector, Helm or YAML reads as more than a string."""
    keys = [place for place in schemas.keys(config) if place.kind in ("string", "enum", "duration")]
    return rng.choice(keys).set(rng.choice(TEXTS)) if keys else None


def half_connector(rng, config, schemas):
    """A connector on one side only, or between pipelines that it does not join."""
    connectors = list(config.get("connectors") or {})
    pipelines = config["service"]["pipelines"]
    if not connectors:
        config["connectors"] = {rng.choice(["forward", "forward/x", "span_metrics", "datadog/connector"]): {}}
        connectors = list(config["connectors"])
        for side in ("exporters", "receivers"):
            if rng.random() < 0.8:
                body = pipelines[rng.choice(list(pipelines))]
                body[side] = [*body[side], connectors[0]]
        if rng.random() < 0.6:
            signal = rng.choice(["traces", "metrics", "logs"])
            exporter = rng.choice(list(config["exporters"]))
            pipelines[f"{signal}/joined"] = {"receivers": [connectors[0]], "exporters": [exporter]}
        return f"a new connector {connectors[0]}"
    one = rng.choice(connectors)
    side = rng.choice(["exporters", "receivers"])
    holders = [name for name, body in pipelines.items() if one in body.get(side, [])]
    if rng.random() < 0.5 and holders:
        name = rng.choice(holders)
        pipelines[name][side].remove(one)
        return f"pipelines.{name}.{side} without {one}"
    name = rng.choice(list(pipelines))
    if one in pipelines[name].get(side, []):
        return None
    pipelines[name].setdefault(side, []).append(one)
    return f"pipelines.{name}.{side} with {one}"


def other_frame(rng, config, schemas):
    """Sections and services that are not there, or that only look like it."""
    way = rng.randrange(6)
    if way == 0:
        return put(config, rng.choice(list(config)), rng.choice([None, {}, [], "", 1]), ("",))
    if way == 1:
        key = rng.choice(["receiver", "service2", "version", "telemetry", "x-anchors", "extension", "dist", "Service"])
        config[key] = rng.choice([{}, None, 1])
        return f"{key} is new"
    if way == 2:
        key = rng.choice(["pipeline", "telemetry", "extensions", "logs", "connectors"])
        config["service"][key] = rng.choice([{}, None, [], {"logs": {}}, {"metrics": {"level": "detailed"}}])
        return f"service.{key} is new"
    if way == 3:
        name = rng.choice(list(config["service"]["pipelines"]))
        body = config["service"]["pipelines"][name]
        key = rng.choice(["extensions", "connectors", "receiver", "Receivers", "telemetry"])
        body[key] = rng.choice([[], {}, None, ["otlp"]])
        return f"pipelines.{name}.{key} is new"
    if way == 4:
        name = rng.choice(["traces/x", "metrics/x", "logs/x", "traces", "metrics", "logs"])
        body = rng.choice(list(config["service"]["pipelines"].values()))
        config["service"]["pipelines"][name] = copy.deepcopy(body)
        return f"pipelines.{name} is like another"
    section = rng.choice(SECTIONS)
    kinds = sorted(kind for (of, kind) in schemas.components if of == section)
    new = rng.choice(kinds)
    if new in config.get(section, {}):
        return None
    config.setdefault(section, {})[new] = rng.choice([{}, None, {"key": 1}])
    if rng.random() < 0.7:
        body = rng.choice(list(config["service"]["pipelines"].values()))
        if section in LISTS:
            body.setdefault(section, []).append(new)
        elif section == "extensions":
            config["service"].setdefault("extensions", []).append(new)
    return f"{section}.{new} is new"


KINDS = {
    "renamed key": renamed_key,
    "wrong type": wrong_type,
    "unknown component": unknown_component,
    "dangling reference": dangling_reference,
    "swapped signal": swapped_signal,
    "bad duration": bad_duration,
    "bad endpoint": bad_endpoint,
    "missing key": missing_key,
    "null body": null_body,
    "duplicate receiver": duplicate_receiver,
    "duplicate key": duplicated_key,
    "emptied": emptied,
    "reordered": reordered,
    "known key": known_key,
    "several known keys": several_known_keys,
    "known key, wrong value": known_key_wrong_value,
    "key of another place": unknown_key,
    "number out of range": number_out_of_range,
    "wrong word": wrong_word,
    "plain scalar": plain_scalar,
    "reference or text": reference_or_text,
    "half a connector": half_connector,
    "other frame": other_frame,
}


class Place:
    """A key that a schema knows, in a config that has it or could have it."""

    def __init__(self, holder, key, path, schema, root, kind):
        self.holder, self.path, self.schema, self.root, self.kind = holder, (*path, key), schema, root, kind
        self.given = key in holder

    def set(self, value):
        key = self.path[-1]
        before = self.holder.get(key, "nothing")
        if self.given and type(before) is type(value) and before == value:
            return None
        self.holder[key] = value
        return f"{dotted(self.path)}: {short(before)} -> {short(value)}"


class Schemas:
    """The schemas that floe-render validates collector configs with, as a source of keys and values."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.components = {
            (file.parent.name, file.stem): json.loads(file.read_text()) for file in sorted(folder.glob("collector/*/*.json"))
        }
        self.frame = json.loads((folder / "collector.schema.json").read_text())

    def resolve(self, schema, root):
        while isinstance(schema, dict) and "$ref" in schema and schema["$ref"].startswith("#/"):
            found = root
            for token in schema["$ref"][2:].split("/"):
                found = found[token.replace("~1", "/").replace("~0", "~")]
            schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
        return schema

    def kind(self, raw, root):
        """What sort of value a schema wants."""
        if isinstance(raw, dict) and "duration" in str(raw.get("$ref", "")):
            return "duration"
        schema = self.resolve(raw, root)
        if not isinstance(schema, dict):
            return "any"
        if "duration" in str(raw.get("$ref", "")) or "ns|us" in str(schema.get("pattern", "")):
            return "duration"
        if "enum" in schema:
            return "enum"
        types = schema.get("type", "object" if "properties" in schema else "any")
        types = [types] if isinstance(types, str) else types
        if "object" in types:
            return "object"
        if "array" in types:
            return "array"
        return "number" if {"integer", "number"} & set(types) else types[0]

    def keys(self, config):
        """Every key that the schemas know, wherever the config has a mapping for it."""
        found = []
        for section in SECTIONS:
            for name, body in (config.get(section) or {}).items():
                root = self.components.get((section, name.split("/")[0]))
                if root and isinstance(body, dict):
                    self._walk(body, root, root, (section, name), found)
        service = config.get("service")
        if isinstance(service, dict):
            self._walk(service, self.frame["properties"]["service"], self.frame, ("service",), found)
        return found

    def _walk(self, node, raw, root, path, found):
        schema = self.resolve(raw, root)
        if not isinstance(schema, dict):
            return
        if isinstance(node, list):
            for index, item in enumerate(node):
                self._walk(item, schema.get("items", {}), root, (*path, index), found)
        if not isinstance(node, dict):
            return
        known = schema.get("properties", {})
        for key, sub in known.items():
            if sub is not False:
                found.append(Place(node, key, path, sub, root, self.kind(sub, root)))
        for key, value in node.items():
            self._walk(value, known.get(key, schema.get("additionalProperties", {})), root, (*path, key), found)

    def value(self, rng, raw, root, depth=0):
        """A value that a schema takes, as far as its type, words and bounds say."""
        kind = self.kind(raw, root)
        schema = self.resolve(raw, root)
        if not isinstance(schema, dict):
            return "x"
        if "const" in schema:
            return schema["const"]
        if "default" in schema and rng.random() < 0.2:
            return copy.deepcopy(schema["default"])
        match kind:
            case "duration":
                return rng.choice(["1s", "30s", "5m", "1h30m", "250ms", "0s"])
            case "enum":
                return rng.choice(schema["enum"])
            case "number":
                low = schema.get("exclusiveMinimum", schema.get("minimum", 0))
                high = schema.get("maximum", max(10000, 2 * low))
                types = schema.get("type")
                if "number" in types:
                    return rng.choice([low, high, (low + high) / 2])
                return rng.choice([low, high, rng.randint(int(low), int(high)), min(int(low) + 1, int(high))])
            case "boolean":
                return rng.random() < 0.5
            case "array":
                items = schema.get("items", {"type": "string"})
                count = max(schema.get("minItems", 0), rng.randint(0, 2))
                return [self.value(rng, items, root, depth + 1) for _ in range(count)]
            case "object":
                return self._object(rng, schema, root, depth)
            case "string":
                return self._string(rng, schema)
            case _:
                return rng.choice(["x", 1, True])

    def _object(self, rng, schema, root, depth):
        known = {key: sub for key, sub in schema.get("properties", {}).items() if sub is not False}
        wanted = list(schema.get("required", []))
        if known and depth < 4:
            wanted += [key for key in rng.sample(sorted(known), min(len(known), rng.randint(0, 3))) if key not in wanted]
        value = {key: self.value(rng, known.get(key, True), root, depth + 1) for key in wanted}
        more = schema.get("additionalProperties", not known)
        if not known and more not in (False, None) and depth < 4:
            for _ in range(rng.randint(0, 2)):
                value[rng.choice(["a", "x-header", "Some.Key"])] = self.value(rng, more, root, depth + 1)
        return value

    def _string(self, rng, schema):
        if schema.get("x-secret"):
            return "${env:SECRET}"
        return rng.choice(["text", "a.b", "x", "https://host.example.com", "host.example.com:4317", "/etc/floe/file"])

    def wrong_value(self, rng, raw, root):
        """A value near one that a schema takes."""
        right = self.value(rng, raw, root)
        ways = [rng.choice(WRONG), rng.choice(WRONG), [right], {"key": right}, str(right), None]
        if isinstance(right, dict) and right:
            key = rng.choice(list(right))
            ways += [{**right, key: rng.choice(WRONG)}, {**right, "unknown": 1}] * 2
        if isinstance(right, list) and right:
            ways += [[*right, rng.choice(WRONG)], right[0]] * 2
        return copy.deepcopy(rng.choice(ways))


def mutate(rng, kind, config, schemas):
    """(changed config, what was changed), or None."""
    changed = copy.deepcopy(config)
    said = KINDS[kind](rng, changed, schemas)
    return (changed, said) if said else None
