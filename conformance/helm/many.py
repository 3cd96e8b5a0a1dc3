"""Helm as a process that does many jobs: `many/` in Go."""

import itertools
import json
import os
import queue
import subprocess
import threading

HELMS = ("helm4", "helm3")


class Many:
    """Takes jobs without waiting, and puts each answer, with the job's key and the Helm's name, into `answers`."""

    def __init__(self, tools, helm, workers, answers, errors=None):
        self.helm, self.answers = helm, answers
        self.numbers, self.keys, self.jobs = itertools.count(), {}, queue.Queue()
        self.ending, self.ended = threading.Lock(), None
        # Each job leaves a few MB of garbage behind, and is soon done. Helm reads each revision that it keeps at each upgrade.
        environment = {"GOGC": "400", "HELM_MAX_HISTORY": "2", "HELM_QPS": "1000", "HELM_BURST_LIMIT": "1000", **os.environ}
        self.process = subprocess.Popen(
            [f"{tools}/many-{helm}", str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        threading.Thread(target=self.write, daemon=True).start()
        threading.Thread(target=self.read, daemon=True).start()

    def ask(self, key, do, chart, namespace, values="", set_json=()):
        number = next(self.numbers)
        with self.ending:
            self.keys[number] = key
            if self.ended:
                self.give_up()
        job = {"id": number, "do": do, "chart": str(chart), "namespace": namespace, "values": str(values)}
        self.jobs.put({**job, "set_json": list(set_json)})

    def end(self):
        """No job comes any more."""
        self.jobs.put(None)

    def write(self):
        with self.process.stdin as pipe:
            while (job := self.jobs.get()) is not None:
                try:
                    pipe.write(json.dumps(job).encode() + b"\n")
                    pipe.flush()
                except BrokenPipeError:   # `read` tells how it ended
                    return

    def read(self):
        try:
            for line in self.process.stdout:
                answer = json.loads(line)
                self.answers.put((self.helm, self.keys.pop(answer["id"]), answer))
            ended = f"ended with status {self.process.wait()}"
        except ValueError:
            ended = f"says what is no answer: {line}"
        with self.ending:
            self.ended = f"many-{self.helm} {ended}"
            self.give_up()

    def give_up(self):
        """Everything that has no answer gets that it has none."""
        while self.keys:
            _, key = self.keys.popitem()
            self.answers.put((self.helm, key, {"output": "", "hooks": "", "error": self.ended}))
