"""One line per check, tab-separated, for people and for `conformance/run`: consumer, verdict, case, detail."""

import sys

_refused = 0


def accepted(consumer, case, detail=""):
    _line(consumer, "accepted", case, detail)


def skipped(consumer, case, reason):
    _line(consumer, "skipped", case, reason)


def refused(consumer, case, reason):
    global _refused
    _refused += 1
    _line(consumer, "refused", case, reason)


def _line(consumer, verdict, case, detail):
    print(consumer, verdict, case, " ".join(str(detail).split()), sep="\t", flush=True)


class Verdicts:
    """Reports each case, and tries only one of those whose files say the same."""

    def __init__(self, consumer):
        self.consumer = consumer
        self._known = {}

    def report(self, case, digest, check):
        """`check` returns pairs of one of the functions above and its detail."""
        if digest not in self._known:
            self._known[digest] = check()
        for verdict, detail in self._known[digest]:
            verdict(self.consumer, case, detail)


def close():
    sys.exit(1 if _refused else 0)
