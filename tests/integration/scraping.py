"""The metrics of a server, as a scraper reads them."""

import collections
import re
import socket
import urllib.request


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scrape(port):
    """{name: [(labels, value)]} of the text format, which is parsed by its grammar: a line that does not fit fails."""
    samples = collections.defaultdict(list)
    for line in urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode().splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP|TYPE) [a-z_]+ .+", line), line
            continue
        match = re.fullmatch(r'([a-z_]+)(?:\{((?:[a-z_0-9]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)', line)
        assert match, line
        labels = dict(re.findall(r'([a-z_0-9]+)="((?:[^"\\]|\\.)*)"', match.group(2) or ""))
        samples[match.group(1)].append((labels, float(match.group(3))))
    return samples


def value(samples, name, **labels):
    found = [v for have, v in samples[name] if all(have.get(k) == w for k, w in labels.items())]
    assert len(found) == 1, (name, labels, samples[name])
    return found[0]
