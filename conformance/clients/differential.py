"""Asks floe-render and a real collector the same question about thousands of wrong, and some right, collector configs.

usage: differential.py VERDICT OTELCOL OLDER DIRECTORY COUNT CASE_DIR...

VERDICT is the program of conformance/verdict. DIRECTORY holds `configs/`, complete configs to begin with beside those of
the cases, and `explained.yaml`, the differences that there are reasons for. `SEED` in the environment sets another seed.

floe-render gets the mutant as a patch that replaces the whole collector config. Where it accepts, the collector gets what
floe-render would have written; where it refuses, the mutant itself. The profile is development in all cases, since
the policies of the other are about configs that a collector accepts.

    agreement  = (both accept + both refuse) / (all mutants - those that only floe-render refuses, on purpose)
    on purpose = every finding of floe-render matches an entry under `stricter` in explained.yaml

OLDER is the oldest collector that floe-render writes for. A tenth as many mutants are rendered for it, from the cases that
are. Patches speak of the newest collector, so this one can only be asked what floe-render made of what it accepts.
"""

import collections
import concurrent.futures
import itertools
import json
import os
import pathlib
import random
import re
import subprocess
import sys

import mutants
import report
import sandbox
import yaml
from case import AWS_IDENTITY, NASTY, Case

CONSUMER = "differential"
SEED = "1"
WANTED = 0.99
OLDER = "0.120.0"
# What is not accepted is not asked of the older collector.
MOSTLY_ACCEPTED = ("known key", "several known keys", "emptied", "reordered", "number out of range", "wrong word", "key of another place")


class Base:
    """A config to mutate, and how floe-render comes to it."""

    def __init__(self, name, directory, arguments, config, env):
        self.name, self.directory, self.arguments, self.config, self.env = name, directory, arguments, config, env


def main(verdict, otelcol, older, directory, count, directories):
    if not sandbox.entered(CONSUMER):
        return
    authority, _names = sandbox.Authority(), sandbox.Names()
    directory = pathlib.Path(directory).resolve()
    bases = [*rendered(directories), *written(directory / "configs")]
    explained = Explained(directory / "explained.yaml")
    schemas = mutants.Schemas(directory.parent.parent / "schemas")
    with sandbox.stand_in(authority, {443}):  # an authenticator may fetch a token to see that its options are right
        controls = [Mutant(base, "unchanged", number, base.config, "unchanged") for number, base in enumerate(bases)]
        ask(verdict, otelcol, controls)
        for control in controls:
            if not (control.ours["ok"] and control.theirs["ok"]):
                wrong = "; ".join([*control.ours["errors"], control.theirs["error"]])
                report.refused(CONSUMER, control.base.name, f"is not accepted before it is changed: {wrong}")
        sound = [control.base for control in controls if control.ours["ok"] and control.theirs["ok"]]
        seed = os.environ.get("SEED", SEED)
        made = make(sound, schemas, int(count), seed)
        ask(verdict, otelcol, made)
        lowered = make(list(for_the_older(verdict, directories)), schemas, int(count) // 10, seed, MOSTLY_ACCEPTED)
        ask(verdict, older, lowered, accepted_only=True)
    tell_of_the_older(lowered, explained)
    tell(made, explained)
    report.close()


def rendered(directories):
    """The cases that say different things, with the command lines that render them."""
    seen = set()
    for case in map(Case, directories):
        if not case.has("collector.yaml") or case.target() != "0.158.0" or case.unavailable():
            continue
        if "acme" in case.types():  # a made-up exporter, which takes anything
            continue
        command = case.command()
        if command is None or "--policy" in command[1] or (digest := case.digest("collector.yaml")) in seen:
            continue
        seen.add(digest)
        yield Base(case.name, *command, case.yaml("collector.yaml"), AWS_IDENTITY | case.collector_env(NASTY[0]))


def for_the_older(verdict, directories):
    """The cases that are rendered for an older collector, as they are before they are lowered to it."""
    bases = []
    for case in map(Case, directories):
        if not case.has("collector.yaml") or case.target() != OLDER or case.unavailable():
            continue
        command = case.command()
        if command and "--policy" not in command[1]:
            bases.append(Base(case.name, *command, case.yaml("collector.yaml"), AWS_IDENTITY | case.collector_env(NASTY[0])))
    questions = [{"name": one.name, "dir": str(one.directory), "arguments": newest(one.arguments), "manifest": "{}"} for one in bases]
    seen = set()
    for base, answer in zip(bases, answers([verdict], questions)):
        if not answer["ok"]:
            report.refused(CONSUMER, base.name, f"is not accepted for the newest collector: {'; '.join(answer['errors'])}")
        elif (text := answer["config"].partition("\n")[2]) not in seen:
            seen.add(text)
            base.config = yaml.safe_load(text)
            yield base


def newest(arguments):
    """The arguments, and a flag that overrides what a manifest says of the collector's version."""
    at = arguments.index("--collector-version") if "--collector-version" in arguments else len(arguments)
    return arguments[:at] + arguments[at + 2 :] + ["--collector-version", "0.158"]


def written(directory):
    for file in sorted(directory.glob("*.yaml")):
        if file.name != "manifest.yaml":
            config = yaml.safe_load(file.read_text())
            yield Base(f"configs/{file.name}", str(directory), ["-f", "manifest.yaml"], config, AWS_IDENTITY)


class Mutant:
    def __init__(self, base, kind, number, config, change):
        self.base, self.kind, self.change = base, kind, change
        self.name = f"{kind} {number}"
        self.text = mutants.text(config)
        self.ours = self.theirs = None

    def subject(self):
        """As a user would bring it to floe-render."""
        manifest = (
            "render: {variables: {SECRET: {name: conformance, key: secret}}, patches: {collector: [{op: replace, path: '', value: "
            f"{self.text}}}]}}}}\n"
        )
        return {
            "name": self.name,
            "dir": str(self.base.directory),
            "arguments": without_profile(self.base.arguments) + ["--profile", "development"],
            "manifest": manifest,
        }

    def request(self):
        """As the collector would get it."""
        config = self.ours["config"] if self.ours["ok"] else self.text
        return {"name": self.name, "config": config, "env": {"SECRET": "floe:secret"} | self.base.env}


def without_profile(arguments):
    if "--profile" not in arguments:
        return arguments
    at = arguments.index("--profile")
    return arguments[:at] + arguments[at + 2 :]


def make(bases, schemas, count, seed, kinds=tuple(mutants.KINDS)):
    """At least `count` mutants, as many of each base, the kinds in turn, no two alike. What is made of a base depends on its
    own name only, so that another case changes none of them.
    """
    made, seen = [], {mutants.text(base.config) for base in bases}
    for base in bases:
        rng = random.Random(f"{seed} {base.name}")
        end = len(made) + -(-count // len(bases))
        for kind in itertools.islice(itertools.cycle(kinds), rng.randrange(len(kinds)), None):
            for _ in range(50):  # some kinds find nothing to do in some configs
                mutated = mutants.mutate(rng, kind, base.config, schemas)
                if mutated and (mutant := Mutant(base, kind, len(made), *mutated)).text not in seen:
                    seen.add(mutant.text)
                    made.append(mutant)
                    break
            if len(made) >= end:
                break
    return made


def ask(verdict, otelcol, subjects, accepted_only=False):
    """Both verdicts on every mutant, or on those that floe-render accepts, each program twice at once."""
    halves = subjects[::2], subjects[1::2]

    def both(half):
        for mutant, ours in zip(half, answers([verdict], [mutant.subject() for mutant in half])):
            mutant.ours = ours
        asked = [mutant for mutant in half if mutant.ours["ok"] or not accepted_only]
        for mutant, theirs in zip(asked, answers([otelcol, "validate-many"], [mutant.request() for mutant in asked])):
            mutant.theirs = theirs

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(both, halves))


def answers(command, questions):
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    run = subprocess.run(command, input=lines, capture_output=True, text=True)
    given = [json.loads(line) for line in run.stdout.splitlines()]
    if [one["name"] for one in given] != [one["name"] for one in questions]:
        ended = f"{command[0]} ended with {run.returncode} after {len(given)} of {len(questions)} questions"
        raise SystemExit(f"{ended}: {run.stderr.strip()[:1000]}")
    return given


class Explained:
    """The differences that have a reason, by what is said about them."""

    def __init__(self, file):
        self.file = file
        self.entries = yaml.safe_load(file.read_text())
        self.used = collections.Counter()

    def reasons(self, side, messages):
        """The reasons for what was said, or None where something has none."""
        found = [
            next((entry for entry in self.entries[side] if re.search(entry["says"], message, re.DOTALL)), None)
            for message in messages
        ]
        alone = [entry for entry in found if entry and entry.get("alone")]
        if None in found and not alone:
            return None
        reasons = {entry["reason"] for entry in (alone if None in found else found)}
        self.used.update((side, reason) for reason in reasons)
        return sorted(reasons)

    def idle(self):
        return [entry for side, entries in self.entries.items() for entry in entries if (side, entry["reason"]) not in self.used]


OUTCOMES = ("both accept", "both refuse", "stricter on purpose", "listed false accept", "false accept", "false reject")


def tell(made, explained):
    table = {kind: collections.Counter() for kind in mutants.KINDS}
    for mutant in made:
        outcome, detail = judge(mutant, explained)
        table[mutant.kind][outcome] += 1
        name = f"{mutant.name} ({mutant.base.name})"
        if outcome in ("false accept", "false reject"):
            report.refused(CONSUMER, name, f"{outcome}: {mutant.change}: {detail}")
        elif outcome in ("both accept", "both refuse"):
            report.accepted(CONSUMER, name, outcome)
        else:
            report.listed(CONSUMER, name, f"{outcome}: {detail}")
    total = sum(table.values(), collections.Counter())
    agree = total["both accept"] + total["both refuse"]
    asked = len(made) - total["stricter on purpose"]
    rows = [("", "all", *OUTCOMES)]
    rows += [(kind, sum(row.values()), *(row[outcome] for outcome in OUTCOMES)) for kind, row in table.items()]
    rows.append(("all", len(made), *(total[outcome] for outcome in OUTCOMES)))
    for row in rows:
        report.note(f"differential: {row[0]:24}" + "".join(f"{cell:>20}" for cell in row[1:]))
    report.note(
        f"differential: agreement {agree / asked:.2%} ({agree} of {asked}, without the {total['stricter on purpose']} that"
        f" floe-render alone refuses on purpose; {agree / len(made):.2%} with them)"
    )
    for (side, reason), times in explained.used.most_common():
        report.note(f"differential, {side}: {times} × {reason}")
    if agree / asked < WANTED:
        report.refused(CONSUMER, "agreement", f"{agree / asked:.2%} is less than {WANTED:.0%}")
    for entry in explained.idle():
        report.note(f"differential, {explained.file.name}: no mutant needed {entry['says']}")


def tell_of_the_older(made, explained):
    counts = collections.Counter()
    for mutant in made:
        outcome, detail = judge(mutant, explained) if mutant.theirs else ("not asked", "")
        counts[outcome] += 1
        name = f"{OLDER}: {mutant.name} ({mutant.base.name})"
        if outcome == "false accept":
            report.refused(CONSUMER, name, f"{outcome}: {mutant.change}: {detail}")
        elif outcome == "both accept":
            report.accepted(CONSUMER, name, outcome)
        elif outcome != "not asked":
            report.listed(CONSUMER, name, f"{outcome}: {detail}")
    said = ", ".join(f"{outcome} {count}" for outcome, count in sorted(counts.items()))
    report.note(f"differential: {len(made)} mutants rendered for collector {OLDER}: {said}")


def judge(mutant, explained):
    ours, theirs = mutant.ours["ok"], mutant.theirs["ok"]
    if ours == theirs:
        return ("both accept" if ours else "both refuse"), ""
    if ours:
        reasons = explained.reasons("laxer", [mutant.theirs["error"]])
        return ("listed false accept", "; ".join(reasons)) if reasons else ("false accept", mutant.theirs["error"])
    # Without the place in the manifest, which says nothing about what is wrong.
    errors = [re.sub(r" \(/tmp/[^()]*\)$", "", error) for error in mutant.ours["errors"]]
    reasons = explained.reasons("stricter", errors)
    return ("stricter on purpose", "; ".join(reasons)) if reasons else ("false reject", "; ".join(errors))


if __name__ == "__main__":
    main(*sys.argv[1:6], sys.argv[6:])
