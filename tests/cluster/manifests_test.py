"""docker/k8s against the published schemas of Kubernetes, and against what the server really has."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

import kubernetes_validate
import yaml
from shira_testutil import run_binary

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
K8S = ROOT / "docker/k8s"
VERSIONS = ("1.27", "1.30", "1.34")
HAPROXY = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")


def resources():
    return [resource for path in sorted(K8S.glob("*.yaml")) for resource in yaml.safe_load_all(path.read_text())]


def one(kind, name):
    found = [r for r in resources() if r["kind"] == kind and r["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {len(found)}"
    return found[0]


def server_container():
    return one("StatefulSet", "shira")["spec"]["template"]["spec"]["containers"][0]


class ManifestsTest(unittest.TestCase):
    def test_every_resource_fits_the_schema(self):
        kinds = set()
        for resource in resources():
            kinds.add(resource["kind"])
            for version in VERSIONS:
                with self.subTest(kind=resource["kind"], name=resource["metadata"]["name"], version=version):
                    kubernetes_validate.validate(resource, version, strict=True)
        self.assertGreaterEqual(kinds, {"StatefulSet", "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"})

    def test_the_schema_check_can_fail(self):
        broken = one("StatefulSet", "shira")
        broken["spec"]["replicaz"] = 3
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, VERSIONS[0], strict=True)

    def test_the_server_knows_every_flag(self):
        text = run_binary("shira-server", "--help").stdout
        for argument in server_container()["args"]:
            self.assertRegex(text, re.escape(argument.split("=")[0]) + r"\b")

    def test_selectors_ports_and_claims_meet(self):
        labels = one("StatefulSet", "shira")["spec"]["template"]["metadata"]["labels"]
        self.assertEqual(one("Service", "shira-replicas")["spec"]["selector"], labels)
        self.assertEqual(one("PodDisruptionBudget", "shira")["spec"]["selector"]["matchLabels"], labels)
        self.assertEqual(one("StatefulSet", "shira")["spec"]["serviceName"], "shira-replicas")
        for service, container in (("shira-replicas", server_container()),
                                   ("shira", one("Deployment", "shira-proxy")["spec"]["template"]["spec"]["containers"][0])):
            names = {port["name"] for port in container["ports"]}
            self.assertLessEqual({port["targetPort"] for port in one("Service", service)["spec"]["ports"]}, names)
        claims = {r["metadata"]["name"] for r in resources() if r["kind"] == "PersistentVolumeClaim"}
        volumes = one("StatefulSet", "shira")["spec"]["template"]["spec"]["volumes"]
        self.assertEqual({v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v}, claims)

    def test_the_grace_period_covers_the_drain(self):
        arguments = dict(a.lstrip("-").split("=") for a in server_container()["args"] if "=" in a)
        pause = int(server_container()["lifecycle"]["preStop"]["exec"]["command"][1])
        grace = one("StatefulSet", "shira")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        self.assertGreater(grace, pause + int(arguments["drain-timeout"]))

    def test_the_container_is_confined(self):
        for kind, name in (("StatefulSet", "shira"), ("Deployment", "shira-proxy")):
            pod = one(kind, name)["spec"]["template"]["spec"]
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            for container in pod["containers"]:
                context = container["securityContext"]
                self.assertTrue(context["readOnlyRootFilesystem"])
                self.assertFalse(context["allowPrivilegeEscalation"])
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]})


class HaproxyTest(unittest.TestCase):
    @staticmethod
    def common(path):
        """What both configurations share: all but the head, the servers and how their names are found."""
        text = path.read_text()
        text = text[text.index("\nglobal\n"):].split("\nresolvers ")[0]
        lines = [line.replace(" resolvers cluster init-addr none", "") for line in text.splitlines()]
        return [line for line in lines if not line.strip().startswith("server ")]

    def test_the_clusters_configuration_is_the_tested_one(self):
        self.assertEqual(self.common(K8S / "haproxy.cfg"), self.common(ROOT / "docker/haproxy.cfg"))

    def test_it_names_as_many_replicas_as_there_may_be(self):
        servers = re.findall(r"^  server \S+ (\S+)$", (K8S / "haproxy.cfg").read_text(), re.M)
        self.assertEqual(servers, [f"shira-{i}.shira-replicas.shira.svc.cluster.local:50051"
                                   for i in range(one("HorizontalPodAutoscaler", "shira")["spec"]["maxReplicas"])])

    def test_haproxy_accepts_both(self):
        environment = {f"SHIRA_REPLICA_{i}": f"127.0.0.1:{50050 + i}" for i in (1, 2, 3)}
        environment |= {"SHIRA_BIND": "127.0.0.1:50050", "SHIRA_STATS": "127.0.0.1:8404"}
        for path in (ROOT / "docker/haproxy.cfg", K8S / "haproxy.cfg"):
            result = subprocess.run([HAPROXY, "-c", "-f", path], env={**os.environ, **environment}, capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertNotIn("WARNING", result.stderr)


if __name__ == "__main__":
    unittest.main()
