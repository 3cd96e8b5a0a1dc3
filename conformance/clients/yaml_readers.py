"""Reads what was rendered with a YAML 1.1 and a YAML 1.2 reader, and compares both with `artifacts.json`, which is JSON
and so leaves no choice.

usage: yaml_readers.py SHARE CASE_DIR...     SHARE is 0/2 for the first half of the distinct cases
"""

import sys

import report
import ruamel.yaml
import yaml
from case import Case

# File, and where `artifacts.json` holds the same.
FILES = {
    "collector.yaml": "otlp_collector_config",
    "openlineage.yml": "openlineage_client_config",
    "workload.env.yaml": "workload_env",
    "values.yaml": None,
}


def version_1_2(text):
    reader = ruamel.yaml.YAML(typ="safe", pure=True)
    reader.version = (1, 2)
    return reader.load(text)


def main(share, directories):
    verdicts = report.Verdicts("yaml", share)
    read = {}  # many cases share a file
    for case in map(Case, directories):
        if case.has("artifacts.json"):
            verdicts.report(case.name, case.digest("artifacts.json", *FILES), lambda: judge(case, read))
    report.close()


def judge(case, read):
    artifacts, wrong, compared = case.artifacts(), [], []
    for file, key in FILES.items():
        if (text := case.text(file)) is None:
            continue
        try:
            if text not in read:
                read[text] = yaml.safe_load(text), version_1_2(text)
        except (yaml.YAMLError, ruamel.yaml.error.YAMLError, ValueError) as error:
            wrong.append(f"{file}: {error}")
            continue
        compared.append(file)
        first, second = read[text]
        if difference := differ(first, second):
            wrong.append(f"{file}: YAML 1.1 and 1.2 disagree at {difference}")
        if key and (difference := differ(first, artifacts[key])):
            wrong.append(f"{file}, as YAML 1.1, is not `{key}` of artifacts.json at {difference}")
    if wrong:
        return [(report.refused, "; ".join(wrong))]
    return [(report.accepted, ", ".join(compared))]


def differ(one, other, path=""):
    """Where two documents are not the same, by type as well as by value."""
    if isinstance(one, dict) and isinstance(other, dict):
        if list(map(repr, one)) != list(map(repr, other)):
            return f"{path or '/'}: keys {list(one)}, and {list(other)}"
        return next((d for key in one if (d := differ(one[key], other[key], f"{path}/{key}"))), None)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return next((d for i, (a, b) in enumerate(zip(one, other)) if (d := differ(a, b, f"{path}/{i}"))), None)
    if type(one) is not type(other) or one != other:
        return f"{path or '/'}: {one!r}, and {other!r}"
    return None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
