"""What happened in a soak, from any thread, and whether the replies' adapters are those that were asked for."""

import bisect
import collections
import contextlib
import itertools
import threading
import time

Move = collections.namedtuple("Move", "begin end target")  # of an alias: the call's time; (name, version)
AliasUse = collections.namedtuple("AliasUse", "begin end alias target")


class Records:
    def __init__(self):
        self._lock = threading.Lock()
        self._contents = collections.defaultdict(dict)  # name: {version: sha256}
        self._newest = collections.Counter()  # name: newest version whose load has returned
        self._blends = {}  # sha256: ((part's sha256, weight), ...)
        self._named = set()  # (name, version, sha256) as replies have them
        self._moves = collections.defaultdict(list)  # alias: [Move], by time
        self._alias_uses = []
        self._answers = collections.Counter()  # ((sha256, weight), ...), prompt, tokens
        self.counts = collections.Counter()
        self.problems = []

    def count(self, what):
        with self._lock:
            self.counts[what] += 1

    def problem(self, what):
        with self._lock:
            self.problems.append(what)

    def loaded(self, adapter, parts=None):
        """`parts`, of a blend: ((sha256, weight), ...)."""
        with self._lock:
            self._contents[adapter.name][adapter.version] = adapter.sha256
            self._newest[adapter.name] = max(self._newest[adapter.name], adapter.version)
            if parts:
                self._blends[adapter.sha256] = parts

    @contextlib.contextmanager
    def moving(self, alias):
        """Around a call that moves an alias, which nobody else does at the time: append the target to what this gives, None if it is gone."""
        begin, target = time.monotonic(), []
        yield target
        with self._lock:
            self._moves[alias] += [Move(begin, time.monotonic(), (t.name, t.version) if t else None) for t in target]

    def versions(self):
        """Before a request: what it may find at the least."""
        with self._lock:
            return dict(self._newest)

    def answered(self, asked, versions, begin, summary, prompt, answers):
        """`asked`: {name: weight}, an alias, or None for the default state; `versions` and `begin` are of before the request."""
        got = [(i.name, i.version, i.sha256) for i in summary.adapter]
        terms = tuple((i.sha256, i.weight) for i in summary.adapter)
        with self._lock:
            self._named.update(got)
            for tokens in answers:
                self._answers[terms, prompt, tuple(tokens)] += 1
            if isinstance(asked, str):
                self._alias_uses.append(AliasUse(begin, time.monotonic(), asked, got[0][:2] if len(got) == 1 else None))
            elif asked is not None and asked != {i.name: i.weight for i in summary.adapter}:
                self.problems.append(f"{asked} was asked for, {got} answered")
            elif asked is not None and any(version < versions.get(name, 0) for name, version, _ in got):
                self.problems.append(f"{got} answered after { {name: versions[name] for name in asked} } had been loaded")

    def check_names(self):
        """After the end: whether versions had the contents that replies name, and aliases the targets."""
        for name, version, sha256 in self._named:
            # A version that was replaced before its load returned is known by its content alone.
            if self._contents[name].get(version, sha256) != sha256:
                self.problems.append(f"{name}@{version} never was {sha256}")
        # A move counts from its begin to the end of the next one. They are in order, and many.
        ends = {alias: [move.end for move in moves[1:]] + [float("inf")] for alias, moves in self._moves.items()}
        for use in self._alias_uses:
            moves = self._moves[use.alias][bisect.bisect_left(ends[use.alias], use.begin):]
            if use.target not in (move.target for move in itertools.takewhile(lambda move: move.begin <= use.end, moves)):
                self.problems.append(f"{use.alias} was not {use.target} at the time")

    def restarted(self):
        """Nobody asks at the time. What names and aliases meant until now is checked; what they mean from now on is told anew."""
        self.check_names()
        self._contents.clear()
        self._newest.clear()
        self._named.clear()
        self._moves.clear()
        self._alias_uses.clear()

    def answers(self):
        """{(terms, prompt, tokens): how often}, with the parts of blends as terms."""
        expanded = collections.Counter()
        for (terms, prompt, tokens), times in self._answers.items():
            parts = tuple((part, weight * part_weight) for sha256, weight in terms
                          for part, part_weight in self._blends.get(sha256, ((sha256, 1.0),)))
            expanded[parts, prompt, tokens] += times
        return expanded
