"""The two ends of the benchmarks' workers: programs that hold a model and measure when they are told to, so that several of them can
be measured in turn within one run. One JSON object a line each way; a worker says {"ready": true, ...} first."""

import json
import os
import pathlib
import subprocess
import sys
import time

# The npm package that llama_worker.mjs measures; bench/setup_peers.sh puts it there.
LLAMA_CPP = pathlib.Path(__file__).resolve().parent.parent / ".deps/peers/node/node_modules/node-llama-cpp"


class Worker:
    """A worker as a child process."""

    def __init__(self, name, command, env=None):
        self.name = name
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **(env or {})})
        self.about = {}

    def wait_until_ready(self):
        self.about = self._read()
        return self

    def ask(self, **request):
        """The answer; None, said on standard error, if the worker could not do it."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            print(f"{self.name}: {request}: {answer['error']}", file=sys.stderr)
            return None
        return answer

    def _read(self):
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"{self.name} ended with {self.process.wait()}")
            if line.startswith("{"):
                return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)


def repeat(seconds, run, warm_up=2, least=3):
    """Milliseconds of each run within `seconds`, after a warm-up."""
    times, start = [], time.perf_counter()
    for number in range(-warm_up, 500):
        before = time.perf_counter()
        run()
        if number >= 0:
            times.append((time.perf_counter() - before) * 1e3)
        if number + 1 >= least and time.perf_counter() - start > seconds:
            break
    return {"ms": times}


def some_tokens(count, salt):
    """Tokens without meaning, as generate_bench's."""
    return [1000 + (i * 7919 + salt * 104729) % 40000 for i in range(count)]


def serve(about, operations):
    """The worker's end: answers requests by `operations` {op: function(**fields)} until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def say(message):
        print(json.dumps(message), file=answers, flush=True)

    say({"ready": True, **about})
    for line in sys.stdin:
        request = json.loads(line)
        operation = operations.get(request.pop("op"))
        try:
            say(operation(**request) if operation else {"error": "no such operation"})
        except Exception as error:  # whatever a library raises is the answer
            say({"error": f"{type(error).__name__}: {error}"})
