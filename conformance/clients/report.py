"""One line per check, tab-separated, for people and for `conformance/run`: consumer, verdict, case, detail."""

import sys

_refused = 0


class Wrong(Exception):
    """What happened is not what was promised."""


def accepted(consumer, case, detail=""):
    _line(consumer, "accepted", case, detail)


def skipped(consumer, case, reason):
    _line(consumer, "skipped", case, reason)


def refused(consumer, case, reason):
    global _refused
    _refused += 1
    _line(consumer, "refused", case, reason)


def listed(consumer, case, reason):
    """Two programs disagree, and it is written down why."""
    _line(consumer, "listed", case, reason)


def note(text):
    """For people: nothing is counted."""
    print("note", text, sep="\t", flush=True)


def same(consumer, case, other):
    """Its files say what those of another case say, so it is not tried again."""
    _line(consumer, "same", case, other)


def _line(consumer, verdict, case, detail):
    print(consumer, verdict, case, " ".join(str(detail).split()), sep="\t", flush=True)


class Verdicts:
    """Tries one of the cases whose files say the same. Of several processes with the same cases, each tries its share."""

    def __init__(self, consumer, share="0/1"):
        self.consumer = consumer
        self._number, self._of = map(int, share.split("/"))
        self._first = {}

    def report(self, case, digest, check):
        """`check` returns pairs of one of the functions above and its detail."""
        known = digest in self._first
        number, first = self._first.setdefault(digest, (len(self._first), case))
        if number % self._of != self._number:
            return
        if known:
            same(self.consumer, case, first)
            return
        for verdict, detail in check():
            verdict(self.consumer, case, detail)


def close():
    sys.exit(1 if _refused else 0)
