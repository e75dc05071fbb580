"""Runs the services of docker/compose.yaml without a Docker engine, and checks what they do. docker/verify.sh calls it.

    unshare --net --mount .deps/venv/bin/python docker/run_compose.py ROOT [--seconds 60]        (as root)

ROOT is the image's root. The server runs in it with the file's command and confinement: read-only root, user 65532, no capabilities, no new
privileges, /tmp in memory, its volumes as mounts, in this network namespace. It has to become healthy by the image's health check, to generate
with the base and with two adapters in turn, and on SIGTERM to end a stream that is under way and exit with 0. Prometheus, if it is installed
(Debian's package), runs beside it with the file's command and docker/prometheus.yml; after --seconds it has to have every metric that
docs/operating.md names, and no scrape may have failed. Figures are on standard output.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVICES = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
PROMETHEUS = "http://127.0.0.1:9091"  # the port that compose.yaml publishes
PATH = "/opt/shira/bin:/usr/local/bin:/usr/bin:/bin"  # as in the Dockerfile
# Arguments: the root, the folders for /models and /adapters, /tmp's options, and the command.
CONFINED = """
  set -euo pipefail; root=$1 models=$2 adapters=$3 tmp=$4; shift 4
  mount --bind "$root" "$root"
  mount --bind "$models" "$root/models"; mount -o remount,bind,ro "$root/models"
  mount --bind "$adapters" "$root/adapters"; mount -o remount,bind,ro "$root/adapters"
  mount -t tmpfs -o "$tmp" tmpfs "$root/tmp"
  mount -t proc proc "$root/proc"; mount --bind /dev "$root/dev"
  mount -o remount,bind,ro "$root"
  exec chroot "$root" setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \
    /usr/bin/env -i "PATH=$PATH" "$@"
"""


def fail(what, log=""):
    sys.exit(f"error: {what}\n{log}".rstrip())


def run(*command, **options):
    subprocess.run([str(part) for part in command], check=True, **options)


class Container:
    """Commands in the image, confined as compose.yaml says."""

    def __init__(self, root, models, adapters):
        service = SERVICES["shira"]
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        (tmpfs,) = service["tmpfs"]
        self.prefix = ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "bash", "-c", CONFINED, "confined", root, models,
                       adapters, tmpfs.split(":")[1]]

    def popen(self, *command, **options):
        return subprocess.Popen([str(part) for part in [*self.prefix, *command]], env={"PATH": PATH + ":/usr/sbin:/sbin"}, text=True, **options)

    def run(self, *command):
        process = self.popen(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate()
        if process.returncode != 0:
            fail(f"{' '.join(command)} ended with {process.returncode}", out + err)
        return out

    def shira(self, *command):
        return json.loads(self.run("shira", "--json", *command))

    def generate(self, *options, tokens=24):
        return self.shira("generate", "--chat", "--prompt", "What is the capital of France?", "--max-tokens", str(tokens), *options)


def process_in(container):
    """The process in the container, as this namespace numbers it: the only child of the one that made the namespaces."""
    (pid,) = pathlib.Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
    return int(pid)


def status_fields(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def check_confinement(pid):
    fields = status_fields(pid)
    root = next(line.split() for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines() if line.split()[4] == "/")
    confined = {"user": set(fields["Uid"].split()) == {"65532"}, "capabilities": int(fields["CapBnd"], 16) == 0 == int(fields["CapEff"], 16),
                "new privileges": fields["NoNewPrivs"] == "1", "root": root[5].split(",")[0] == "ro"}
    if not all(confined.values()):
        fail(f"not confined: {confined}")


def wait_until_healthy(container, server, log):
    start = time.monotonic()
    while time.monotonic() < start + 120:
        if server.poll() is not None:
            fail("the server ended", log.read_text())
        # The image's health check.
        check = container.popen("shira", "--server", "127.0.0.1:50051", "status", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if check.wait() == 0:
            return time.monotonic() - start
        time.sleep(0.1)
    fail("not healthy", log.read_text())


def check_switching(container):
    for name in ("pirate", "json"):
        container.shira("adapter", "load", name, f"/adapters/{name}")
    requests = {"base": ["--base"], "pirate": ["--adapter", "pirate"], "json": ["--adapter", "json"]}
    texts = {name: container.generate(*options)["text"] for name, options in requests.items()}
    for name, text in texts.items():
        print(f"  {name}: {text!r}")
    if len(set(texts.values())) != len(texts):
        fail("adapters change nothing")
    if {name: container.generate(*options)["text"] for name, options in requests.items()} != texts:
        fail("an answer is another one after switching")
    container.run("shira", "verify")


def ask(path, **query):
    with urllib.request.urlopen(f"{PROMETHEUS}{path}?{urllib.parse.urlencode(query)}", timeout=10) as reply:
        return json.load(reply)["data"]


@contextlib.contextmanager
def prometheus(folder):
    """Prometheus with compose.yaml's command, whose paths are bound, and the address of the published port."""
    service = SERVICES["prometheus"]
    run("promtool", "check", "config", ROOT / "docker/prometheus.yml")  # and the rules that it names, which lie beside it
    (folder / "data").mkdir()
    places = {"/etc/prometheus/prometheus.yml": str(ROOT / "docker/prometheus.yml"), "/prometheus": str(folder / "data")}
    command = [re.sub(r"=(/.+)", lambda match: "=" + places[match[1]], argument) for argument in service["command"]]
    log = (folder / "prometheus.log").open("w")
    process = subprocess.Popen(["prometheus", *command, f"--web.listen-address={PROMETHEUS.removeprefix('http://')}"], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def documented_metrics():
    """The names in the first column of docs/operating.md's table."""
    rows = re.findall(r"^\| (`(?:shira|process)_.*?) \|", (ROOT / "docs/operating.md").read_text(), re.M)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def value(query):
    result = ask("/api/v1/query", query=query)["result"]
    return float(result[0]["value"][1]) if result else 0.0


def check_metrics(container, seconds):
    end = time.monotonic() + seconds
    requests = 0
    while time.monotonic() < end:
        container.generate(*(["--adapter", "pirate"], ["--adapter", "json"], ["--base"])[requests % 3], tokens=8)
        requests += 1
    # The last ones are counted by the next scrape.
    deadline = time.monotonic() + 15
    while value("sum(shira_requests_total)") < requests:
        if time.monotonic() > deadline:
            fail(f"Prometheus counted {value('sum(shira_requests_total)')} of {requests} requests")
        time.sleep(0.5)
    (target,) = ask("/api/v1/targets")["activeTargets"]
    if target["health"] != "up" or target["lastError"]:
        fail(f"Prometheus: {target['lastError']}")
    series = set(ask("/api/v1/label/__name__/values"))
    missing = documented_metrics() - series - {re.sub(r"_(bucket|sum|count)$", "", name) for name in series}
    if missing:
        fail(f"Prometheus does not have {sorted(missing)}")
    window = f"[{int(seconds)}s]"
    figures = {"scrapes": int(value(f"count_over_time(up{window})")), "failed": int(value(f"count_over_time(up{window}) - sum_over_time(up{window})")),
               "slowest_scrape_ms": round(1000 * value(f"max_over_time(scrape_duration_seconds{window})"), 1),
               "series": int(value("scrape_samples_scraped")), "documented_metrics": len(documented_metrics()), "requests": requests}
    if figures["failed"]:
        fail(f"scrapes failed: {figures}")
    return figures


def drain(container, server, pid):
    stream = container.popen("shira", "--json", "generate", "--prompt", "Once upon a time", "--max-tokens", "150", "--ignore-eos",
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while container.shira("status")["generations"]["running"] == 0:
        pass
    start = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    out, err = stream.communicate()
    code = server.wait()
    took = time.monotonic() - start
    tokens = len(json.loads(out).get("token_ids", [])) if stream.returncode == 0 else 0
    if stream.returncode != 0:
        fail("the stream was cut", err)
    if code != 0:
        fail(f"the server ended with {code}")
    return took, tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=60, help="how long Prometheus scrapes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        folder = pathlib.Path(folder)
        (folder / "models").mkdir()
        shutil.copy(next((ROOT / ".deps/models").glob("smollm2-*.gguf")), folder / "models/model.gguf")
        (folder / "hosts").write_text("127.0.0.1 localhost shira\n")
        run("mount", "--bind", folder / "hosts", "/etc/hosts")
        run("ip", "link", "set", "lo", "up")
        container = Container(options.root, folder / "models", ROOT / "examples/adapters")
        log = folder / "server.log"
        server = container.popen("shira-server", *SERVICES["shira"]["command"], stderr=log.open("w"))
        try:
            figures = {"healthy_s": round(wait_until_healthy(container, server, log), 2)}
            pid = process_in(server)
            check_confinement(pid)
            figures["resident_mb"] = int(status_fields(pid)["VmRSS"].split()[0]) // 1024
            check_switching(container)
            figures["resident_mb_after_requests"] = int(status_fields(pid)["VmRSS"].split()[0]) // 1024
            if shutil.which("prometheus"):
                with prometheus(folder):
                    figures["prometheus"] = check_metrics(container, options.seconds)
            else:
                print("  Prometheus is not installed: not checked")
            took, tokens = drain(container, server, pid)
            figures |= {"drain_s": round(took, 2), "tokens_of_the_stream": tokens}
        finally:
            server.kill()
            server.wait()
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
