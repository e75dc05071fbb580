"""docker/k8s against the published schemas of Kubernetes, and against what the server really has."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
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


def kubectl_order():
    """[(file, resource)] in the order in which `kubectl apply -f docker/k8s/` makes them: files by name, none of subfolders."""
    files = sorted(path for path in K8S.iterdir() if path.suffix in (".yaml", ".yml", ".json"))
    return [(path.name, resource) for path in files for resource in yaml.safe_load_all(path.read_text())]


def references(value):
    """{(kind, name)} of everything that a resource needs to be there, wherever it names it."""
    found = set()
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("configMap", "configMapRef", "configMapKeyRef") and "name" in inner:
                found.add(("ConfigMap", inner["name"]))
            elif key == "secret" and "secretName" in inner:
                found.add(("Secret", inner["secretName"]))
            elif key in ("secretRef", "secretKeyRef") and "name" in inner:
                found.add(("Secret", inner["name"]))
            elif key == "imagePullSecrets":
                found |= {("Secret", item["name"]) for item in inner}
            elif key == "persistentVolumeClaim":
                found.add(("PersistentVolumeClaim", inner["claimName"]))
            elif key == "serviceAccountName":
                found.add(("ServiceAccount", inner))
            elif key == "serviceName" and isinstance(inner, str):
                found.add(("Service", inner))
            elif key == "scaleTargetRef":
                found.add((inner["kind"], inner["name"]))
            found |= references(inner)
    elif isinstance(value, list):
        for inner in value:
            found |= references(inner)
    return found


def one(kind, name):
    found = [r for r in resources() if r["kind"] == kind and r["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {len(found)}"
    return found[0]


def server_container():
    return one("StatefulSet", "shira")["spec"]["template"]["spec"]["containers"][0]


class ManifestsTest(unittest.TestCase):
    def test_every_resource_fits_the_schema(self):
        kinds = set()
        for resource in resources() + list(yaml.safe_load_all((K8S / "fill/pod.yaml").read_text())):
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

    def test_kubectl_finds_every_namespace_made_before_it_is_used(self):
        made = {"default"}
        for file, resource in kubectl_order():
            if resource["kind"] == "Namespace":
                made.add(resource["metadata"]["name"])
            else:
                self.assertIn(resource["metadata"].get("namespace", "default"), made, f"{file}: {resource['kind']}")

    def test_everything_that_is_named_is_in_the_folder(self):
        there = {(r["kind"], r["metadata"]["name"]) for r in resources()}
        self.assertEqual(len(there), len(resources()), "a resource occurs twice")
        for resource in resources() + list(yaml.safe_load_all((K8S / "fill/pod.yaml").read_text())):
            self.assertLessEqual(references(resource), there, resource["metadata"]["name"])

    def test_what_is_named_is_found_wherever_it_stands(self):
        pod = {"serviceAccountName": "a", "imagePullSecrets": [{"name": "b"}], "containers": [
            {"envFrom": [{"configMapRef": {"name": "c"}}], "env": [{"valueFrom": {"secretKeyRef": {"name": "d", "key": "k"}}}]}],
            "volumes": [{"name": "x", "configMap": {"name": "e"}}, {"name": "y", "persistentVolumeClaim": {"claimName": "f"}}]}
        self.assertEqual(references({"spec": {"template": {"spec": pod}}}),
                         {("ServiceAccount", "a"), ("Secret", "b"), ("ConfigMap", "c"), ("Secret", "d"), ("ConfigMap", "e"),
                          ("PersistentVolumeClaim", "f")})

    def test_every_mount_has_its_volume_and_its_file(self):
        for kind, name in (("StatefulSet", "shira"), ("Deployment", "shira-proxy")):
            pod = one(kind, name)["spec"]["template"]["spec"]
            volumes = {volume["name"] for volume in pod["volumes"]}
            for container in pod["containers"]:
                self.assertEqual({mount["name"] for mount in container["volumeMounts"]}, volumes)
        # What the image of HAProxy reads unless it is told otherwise.
        self.assertEqual(set(one("ConfigMap", "shira-haproxy")["data"]), {"haproxy.cfg"})

    def test_the_image_is_the_one_that_the_documents_build(self):
        image = server_container()["image"]
        for document in ("docker/Dockerfile", "docs/operating.md", "docker/k8s/shira.yaml"):
            built = set(re.findall(r"docker build -f docker/Dockerfile -t (\S+) \.", (ROOT / document).read_text()))
            self.assertEqual({f"{name}:latest" for name in built}, {image}, document)

    def test_a_pod_that_is_made_again_has_its_adapters(self):
        arguments = dict(a.lstrip("-").split("=", 1) for a in server_container()["args"] if "=" in a)
        claimed = {m["mountPath"] for m in server_container()["volumeMounts"] if m["name"] == "adapters"}
        self.assertEqual({arguments["adapter-dir"]}, claimed)
        modes = {r["metadata"]["name"]: r["spec"]["accessModes"] for r in resources() if r["kind"] == "PersistentVolumeClaim"}
        self.assertEqual(set(map(tuple, modes.values())), {("ReadWriteMany",)}, "one fills them, many read them")

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
    CLUSTERS = one("ConfigMap", "shira-haproxy")["data"]["haproxy.cfg"]

    @staticmethod
    def common(text):
        """What both configurations share: all but the head, the servers and how their names are found."""
        text = text[text.index("global\n"):].split("\nresolvers ")[0].rstrip()
        lines = [line.replace(" resolvers cluster init-addr none", "") for line in text.splitlines()]
        return [line for line in lines if not line.strip().startswith("server ")]

    def test_the_clusters_configuration_is_the_tested_one(self):
        self.assertEqual(self.common(self.CLUSTERS), self.common((ROOT / "docker/haproxy.cfg").read_text()))

    def test_it_names_as_many_replicas_as_there_may_be(self):
        servers = re.findall(r"^  server \S+ (\S+)$", self.CLUSTERS, re.M)
        self.assertEqual(servers, [f"shira-{i}.shira-replicas.shira.svc.cluster.local:50051"
                                   for i in range(one("HorizontalPodAutoscaler", "shira")["spec"]["maxReplicas"])])

    def test_haproxy_accepts_both(self):
        environment = {f"SHIRA_REPLICA_{i}": f"127.0.0.1:{50050 + i}" for i in (1, 2, 3)}
        environment |= {"SHIRA_BIND": "127.0.0.1:50050", "SHIRA_STATS": "127.0.0.1:8404"}
        clusters = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "haproxy.cfg"
        clusters.write_text(self.CLUSTERS)
        for path in (ROOT / "docker/haproxy.cfg", clusters):
            result = subprocess.run([HAPROXY, "-c", "-f", path], env={**os.environ, **environment}, capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertNotIn("WARNING", result.stderr)


if __name__ == "__main__":
    unittest.main()
