"""docker/compose.yaml: everything that it names is there, in the tree, in the Dockerfile or in the server."""

import pathlib
import re
import shlex
import unittest

import yaml
from shira_testutil import demo_model, run_binary

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()


def flags(service):
    return dict(argument.lstrip("-").split("=", 1) for argument in service["command"] if "=" in argument)


def mounts(service):
    """[(source, target)]; a source in braces is the user's."""
    return [re.fullmatch(r"(\$\{.+?\}|[^:]+):([^:]+)(?::ro)?", volume).groups() for volume in service["volumes"]]


class ComposeTest(unittest.TestCase):
    def setUp(self):
        self.compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
        self.services = self.compose["services"]
        self.server, self.prometheus = self.services["shira"], self.services["prometheus"]

    def test_the_server_accepts_the_command(self):
        command = [argument.replace("/models/model.gguf", str(demo_model())).replace("/adapters", str(ROOT / "examples/adapters"))
                   for argument in self.server["command"]]
        config = run_binary("shira-server", *command, "--print-config").stdout
        for name, value in flags(self.server).items():
            if not value.startswith("/"):
                self.assertRegex(config, f'(?m)^{name} *= *"?{re.escape(value)}"?$')

    def test_the_image_is_built_from_files_that_are_there(self):
        context = DOCKER / self.server["build"]["context"]
        self.assertEqual((context / self.server["build"]["dockerfile"]).resolve(), DOCKER / "Dockerfile")
        for source in re.findall(r"^COPY (\w\S*) ", DOCKERFILE, re.M):
            self.assertTrue((context / source).exists(), source)
        for script in re.findall(r"(?:scripts|docker)/\w+\.sh", "\n".join(line for line in DOCKERFILE.splitlines() if line[:1] != "#")):
            self.assertTrue((context / script).exists(), script)

    def test_every_volume_has_its_place(self):
        places = set(re.findall(r'"(/\w+)"', re.search(r"^VOLUME (.+)$", DOCKERFILE, re.M)[1]))
        self.assertEqual({target for _, target in mounts(self.server)}, places)
        for argument in flags(self.server).values():
            if argument.startswith("/"):
                self.assertIn("/" + argument.split("/")[1], places)
        named = set()
        for service in self.services.values():
            for source, _ in mounts(service):
                if source.startswith("."):
                    self.assertTrue((DOCKER / source).is_file(), source)
                elif not source.startswith("$"):
                    named.add(source)
        self.assertEqual(named, set(self.compose["volumes"]))
        text = (DOCKER / "compose.yaml").read_text()
        for variable in re.findall(r"\$\{(\w+):\?", text):
            self.assertIn(f"{variable}=", text.split("name:")[0], "the head says how to set it")

    def test_the_services_reach_each_other(self):
        for name, service in self.services.items():
            self.assertLessEqual(set(service["networks"]), set(self.compose["networks"]), name)
            self.assertLessEqual(set(service.get("depends_on", [])), set(self.services), name)
        exposed = set(re.search(r"^EXPOSE (.+)$", DOCKERFILE, re.M)[1].split())
        listening = {flags(self.server)[flag].split(":")[1] for flag in ("listen", "metrics-listen")}
        self.assertEqual(listening, exposed)
        for port in self.server["ports"]:
            self.assertIn(port.split(":")[2], listening)
        self.assertEqual(self.prometheus["depends_on"]["shira"]["condition"], "service_healthy")
        check = re.search(r"^HEALTHCHECK .*CMD (\[.+\])$", DOCKERFILE, re.M)[1]
        self.assertIn(f'"127.0.0.1:{flags(self.server)["listen"].split(":")[1]}"', check)

    def test_prometheus_asks_where_the_server_answers(self):
        jobs = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
        self.assertEqual(jobs[0]["static_configs"][0]["targets"], ["shira:" + flags(self.server)["metrics-listen"].split(":")[1]])
        rules = {f"/etc/prometheus/{name}" for name in yaml.safe_load((DOCKER / "prometheus.yml").read_text())["rule_files"]}
        self.assertEqual(set(flags(self.prometheus).values()) | rules, {target for _, target in mounts(self.prometheus)})

    def test_a_container_that_is_made_again_has_its_adapters(self):
        self.assertIn(flags(self.server)["adapter-dir"], {target for _, target in mounts(self.server)})

    def test_docker_run_works_as_it_is_written(self):
        for document in ("docker/Dockerfile", "docs/operating.md"):
            text = (ROOT / document).read_text().replace("\n# ", "\n")
            words = shlex.split(re.search(r"^ *docker run ((?:.*\\\n)*.*)$", text, re.M)[1].replace("\\\n", " "))
            image = next(i for i, word in enumerate(words) if word.startswith("localhost/shira"))
            options, command = words[:image], words[image + 1:]
            command = [word.replace("/models/model.gguf", str(demo_model())).replace("/adapters", str(ROOT / "examples/adapters"))
                       for word in command]
            config = run_binary("shira-server", *command, "--print-config").stdout
            listen = re.search(r'(?m)^listen *= *"?([^"\n]+)"?$', config)[1]
            # What is published leads to a port that the server opens for others than itself, and no further than this machine.
            published = options[options.index("-p") + 1].split(":")
            self.assertEqual((published[0], published[2]), ("127.0.0.1", listen.split(":")[1]), document)
            self.assertEqual(listen.split(":")[0], "0.0.0.0", document)

    def test_the_grace_period_covers_the_drain(self):
        self.assertGreater(int(self.server["stop_grace_period"].removesuffix("s")), int(flags(self.server)["drain-timeout"]))

    def test_nothing_is_published_beyond_this_machine_or_written_to_a_root(self):
        for name, service in self.services.items():
            self.assertTrue(service["read_only"], name)
            for port in service["ports"]:
                self.assertTrue(port.startswith("127.0.0.1:"), port)


if __name__ == "__main__":
    unittest.main()
