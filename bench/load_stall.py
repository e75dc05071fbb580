"""Whether a running stream stalls while adapters load: the time between its tokens, alone and while another client loads and unloads
one adapter after another as fast as the server answers.

usage: load_stall.py [--tokens N] [--threads N] [--out FILE]        (build/release/bin and .deps as scripts/build.sh makes them)
"""

import argparse
import json
import os
import pathlib
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("SHIRA_BIN", str(ROOT / "build/release/bin"))
os.environ.setdefault("SHIRA_DEPS", str(ROOT / ".deps"))
sys.path[:0] = [str(ROOT / "tests/testutil"), str(ROOT / "tests/integration")]

from server_process import Client, ServerProcess  # noqa: E402
from shira_testutil import demo_model  # noqa: E402


def inter_token_ms(client, tokens):
    stream = client.stream(timeout=600, prompt="Once upon a time", adapter={"adapters": [{"name": "party"}]},
                           stop={"max_tokens": tokens, "ignore_eos": True})
    times = [time.perf_counter() for message in stream if message.WhichOneof("event") == "chunk"]
    return sorted((after - before) * 1e3 for before, after in zip(times[1:], times[2:]))


class Loader(threading.Thread):
    """Loads and unloads until told to stop."""

    def __init__(self, target):
        super().__init__()
        self.client = Client(target)
        self.stop = threading.Event()
        self.loads_ms = []

    def run(self):
        while not self.stop.is_set():
            start = time.perf_counter()
            self.client.admin.LoadAdapter(name="busy", path="pirate")
            self.loads_ms.append((time.perf_counter() - start) * 1e3)
            self.client.admin.UnloadAdapter(name="busy")


def row(operation, times, **more):
    at = lambda share: round(times[min(len(times) - 1, int(share * len(times)))], 2)  # noqa: E731
    return {"operation": operation, "tokens": len(times), "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99),
            "max_ms": round(times[-1], 2), **more}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1, help="of the model; leave a core to the loader")
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    with ServerProcess("--model", demo_model(), "--dtype", "bfloat16", "--threads", options.threads, "--adapter-root",
                       ROOT / "examples/adapters", "--adapter", f"party={ROOT / 'examples/adapters/party'}") as server:
        client = Client(server.target)
        inter_token_ms(client, 20)
        rows = [row("alone", inter_token_ms(client, options.tokens))]
        loader = Loader(server.target)
        loader.start()
        times = inter_token_ms(client, options.tokens)
        loader.stop.set()
        loader.join()
        rows.append(row("while_loading", times, loads=len(loader.loads_ms),
                        load_p50_ms=round(sorted(loader.loads_ms)[len(loader.loads_ms) // 2], 2)))
    for line in rows:
        line["threads"] = options.threads
        print(json.dumps(line))
        if options.out:
            with open(options.out, "a") as file:
                print(json.dumps(line), file=file)


if __name__ == "__main__":
    main()
