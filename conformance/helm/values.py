"""Lints and templates values files with both Helms, and compares what comes out; called by `run`.

python3 values.py TOOLS WORK HERE VALUES...

TOOLS has the programs, WORK/helm4 and WORK/helm3 the charts, and HERE is this folder with the cases that are tried every time. One process
of each Helm does all; with those cases, the first of VALUES and everything that must be refused it is seen that the
command says the same, to the byte. Distinct documents go to WORK/rendered, for kubeconform.
"""

import concurrent.futures
import pathlib
import queue
import re
import subprocess
import sys

import check
import many

DOS = ("lint", "template")


class Case:
    def __init__(self, work, chart, values, title):
        self.values, self.title, self.answers = values, title, {}
        text = values.read_text()
        # Documents that were read stay in mind, values need not.
        self.data = check.yaml.load(text, check.Loader)
        self.umbrella = chart == "floe-observability"
        self.namespace = check.namespace(self.data) if self.umbrella else "floe"
        folder = "with-acme" if re.search("^acme:", text, re.MULTILINE) else chart
        self.charts = {helm: work / helm / folder for helm in many.HELMS}

    def complete(self):
        return len(self.answers) == len(many.HELMS) * len(DOS)


def cases(work, here, files):
    for file in sorted((here / "marquez").glob("*.yaml")):
        yield Case(work, "marquez", file, f"marquez, {file.stem}")
    for file in [*sorted((here / "cases").glob("*/values.yaml")), *files]:
        folder = file.parent.parent if file.parent.name == "expected" else file.parent
        yield Case(work, "floe-observability", file, folder.name)


def result(title, *complaints):
    complaints = list(filter(None, complaints))
    print(f"{'FAIL ' if complaints else 'ok   '} {title}")
    for line in "\n".join(complaints).splitlines():
        print(f"      {line}")
    sys.stdout.flush()


def command(tools, helm, do, chart, namespace, values):
    arguments = {"lint": ["lint", "--strict"], "template": ["template", "obs"]}[do]
    arguments += [str(chart), "--namespace", namespace, "--values", str(values)]
    return subprocess.run([f"{tools}/{helm}", *arguments], capture_output=True, text=True)


def by_command(ended, answer):
    """How a Helm command that ended differs from what the long-lived process answered."""
    if (ended.returncode != 0) != bool(answer["error"]):
        return f"the command ended with {ended.returncode}:\n{ended.stderr}\nand here: {answer['error']}"
    if answer["error"]:
        if f"Error: {answer['error']}" not in ended.stderr:
            return f"the command says:\n{ended.stderr}\nand here: {answer['error']}"
    elif ended.stdout != answer["output"]:
        return f"the command says:\n{ended.stdout}\nand here:\n{answer['output']}"
    return None


class Documents:
    """What kubeconform reads: each distinct document, in a file that is named like the first values it is of."""

    def __init__(self, folder):
        self.folder, self.seen, self.manifests = folder, set(), 0

    def add(self, name, manifest):
        self.manifests += 1
        for document in check.documents(manifest):
            if document not in self.seen:
                self.seen.add(document)
                (self.folder / f"{name}-{len(self.seen)}.yaml").write_text(document)


def judge(case, commands, documents):
    for helm in many.HELMS:
        for do, title in (("lint", "lint --strict"), ("template", "template")):
            answer = case.answers[helm, do]
            output = answer["output"] if do == "lint" and answer["error"] else ""
            result(f"{helm} {title}: {case.title}", output, answer["error"])
        manifest = case.answers[helm, "template"]["output"]
        if case.umbrella:
            result(f"same content after {helm}: {case.title}", *check.differences(case.values.parent, case.data, manifest))
        documents.add(re.sub("[^A-Za-z0-9._-]", "_", f"{case.title}.{helm}"), manifest)
    both = [case.answers[helm, "template"]["output"] for helm in many.HELMS]
    result(f"both Helms write the same: {case.title}", check.difference(*both) if all(both) else "one wrote nothing")
    if commands:
        result(
            f"the commands print the same to the byte: {case.title}",
            *(by_command(ended.result(), case.answers[key]) for key, ended in commands.items()),
        )


def main(tools, work, here, *files):
    work, here = pathlib.Path(work), pathlib.Path(here)
    answers = queue.Queue()
    helms = {helm: many.Many(tools, helm, 2, answers) for helm in many.HELMS}
    commands = concurrent.futures.ThreadPoolExecutor(2)

    refusals = {}
    for file in sorted((here / "refused").glob("*.yaml")):
        chart, says = (re.search(f"^# {key}: (.*)$", file.read_text(), re.MULTILINE)[1] for key in ("chart", "says"))
        for helm, process in helms.items():
            arguments = ("template", work / helm / chart, "floe", file)
            process.ask(("refusal", file.stem), *arguments)
            refusals[helm, file.stem] = says, commands.submit(command, tools, helm, *arguments)

    wanted, by_hand = {}, {}
    own, acme = len([*cases(work, here, [])]), None
    for number, case in enumerate(cases(work, here, [pathlib.Path(file) for file in files])):
        wanted[number] = case
        # Those of this folder, the first of the others, and the first with a chart of a third party.
        if case.charts["helm4"].name == "with-acme" and acme is None:
            acme = number
        if number <= own or number == acme:
            by_hand[number] = {}
        for helm, process in helms.items():
            for do in DOS:
                arguments = (do, case.charts[helm], case.namespace, case.values)
                process.ask((number, do), *arguments)
                if number in by_hand:
                    by_hand[number][helm, do] = commands.submit(command, tools, helm, *arguments)
    for process in helms.values():
        process.end()

    documents = Documents(work / "rendered")
    while wanted or refusals:
        helm, (number, do), answer = answers.get()
        if number == "refusal":
            says, ended = refusals.pop((helm, do))
            ended = ended.result()
            accepted = "it was accepted" if ended.returncode == 0 else None
            if not accepted and says not in ended.stdout + ended.stderr:
                accepted = f"it does not say: {says}\n{ended.stderr}"
            result(f"{helm} refuses: {do}", accepted, by_command(ended, answer))
            continue
        case = wanted[number]
        case.answers[helm, do] = answer
        if case.complete():
            judge(wanted.pop(number), by_hand.get(number), documents)
    for process in helms.values():
        process.process.wait()
    (work / "manifests").write_text(f"{len(documents.seen)} distinct documents of {documents.manifests} manifests")


if __name__ == "__main__":
    main(*sys.argv[1:])
