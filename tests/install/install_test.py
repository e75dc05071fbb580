"""Installs the client library into an empty folder; builds and runs the project in outside/ with it. What the demo builds is all that an
installation needs, and the client and the tools configure without LibTorch and Python.

usage: install_test.py BUILD_FOLDER FAKE_SERVER
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

BUILD, FAKE_SERVER = sys.argv[1:3]
SOURCE = pathlib.Path(__file__).parents[2]
sys.path.append(str(SOURCE / "tests/testutil"))
from project_version import project_version

OUTSIDE = pathlib.Path(__file__).parent / "outside"


def run(*command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}:\n{result.stdout}")
    return result.stdout


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.prefix = cls.folder / "prefix"
        run("cmake", "--install", BUILD, "--prefix", cls.prefix, "--component", "client")

    def installed(self, pattern):
        return sorted(str(path.relative_to(self.prefix)) for path in self.prefix.rglob(pattern))

    def test_installs_headers_under_one_folder(self):
        self.assertEqual(self.installed("*.h"), [
            "include/shira/client/cancellation.h",
            "include/shira/client/client.h",
            "include/shira/client/error_info.h",
            "include/shira/client/tls.h",
            "include/shira/v1/adapter_admin.grpc.pb.h",
            "include/shira/v1/adapter_admin.pb.h",
            "include/shira/v1/inference.grpc.pb.h",
            "include/shira/v1/inference.pb.h",
            "include/shira/v1/operations.grpc.pb.h",
            "include/shira/v1/operations.pb.h",
        ])

    def test_installs_the_api_for_other_languages(self):
        self.assertEqual(self.installed("*.proto"), [
            "share/shira/proto/shira/v1/adapter_admin.proto",
            "share/shira/proto/shira/v1/inference.proto",
            "share/shira/proto/shira/v1/operations.proto",
        ])

    def test_the_package_has_the_version_of_the_build(self):
        package = (self.prefix / self.installed("shiraConfigVersion.cmake")[0]).read_text()
        self.assertEqual(re.search(r'^set\(PACKAGE_VERSION "(.*)"\)', package, re.MULTILINE).group(1), project_version())

    def test_names_no_folder_of_this_tree(self):
        for path in [*self.prefix.rglob("*.cmake"), *self.prefix.rglob("*.h")]:
            self.assertNotIn(str(SOURCE), path.read_text(), path)

    def test_builds_and_runs_a_project_outside(self):
        build = self.folder / "build"
        run("cmake", "-S", OUTSIDE, "-B", build, "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", build)
        with subprocess.Popen([FAKE_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as server:
            try:
                output = run(build / "outside", f"127.0.0.1:{int(server.stdout.readline())}")
            finally:
                server.stdin.close()
        self.assertEqual(output, "You said: Ahoy\n14 tokens\nADAPTER_NOT_FOUND\n")


class DemoTest(unittest.TestCase):
    def test_what_it_builds_is_all_that_is_installed(self):
        built = re.search(r"^scripts/build\.sh (.+)$", (SOURCE / "scripts/demo.sh").read_text(), re.MULTILINE).group(1).split()
        outputs = {line.split(": ")[0] for line in run("ninja", "-C", BUILD, "-t", "targets", "all").splitlines()}
        installed = set()
        for script in pathlib.Path(BUILD).rglob("cmake_install.cmake"):
            installed |= outputs & set(re.findall(rf'"{re.escape(BUILD)}/([^"]+)"', script.read_text()))
        self.assertIn("bin/shira-adapter", installed)

        def commands(targets):
            return set(run("ninja", "-C", BUILD, "-t", "commands", *targets).splitlines())

        self.assertEqual(commands(installed) - commands(built), set())


class PartTest(unittest.TestCase):
    """Builds of parts, on a machine where scripts/setup.sh has not been."""

    def configure(self, *options):
        build = self.enterContext(tempfile.TemporaryDirectory())
        run("cmake", "-S", SOURCE, "-B", build, "-G", "Ninja", f"-DSHIRA_DEPS={build}/nothing",
            *(f"-DSHIRA_BUILD_{option}=OFF" for option in options))
        # base/python_json.cc is JSON as Python writes it, in C++.
        commands = run("ninja", "-C", build, "-t", "commands", "all").replace("python_json", "")
        for absent in ("torch", "python", "/venv/"):
            self.assertNotIn(absent, commands)
        programs = {line.split(": ")[0] for line in run("ninja", "-C", build, "-t", "targets", "all").splitlines()}
        run("ninja", "-C", build, "shira_terminal")
        return commands, {pathlib.Path(name).name for name in programs if name.startswith("bin/")}

    def test_the_client_and_the_tools(self):
        _, programs = self.configure("SERVER")
        self.assertEqual(programs, {"shira", "shira-adapter"})

    def test_the_client_alone(self):
        commands, programs = self.configure("SERVER", "TOOLS")
        self.assertEqual(programs, {"shira"})
        self.assertIn("third_party", commands)  # google/rpc is ours to bring

    def test_the_tools_alone_need_no_grpc(self):
        commands, programs = self.configure("SERVER", "CLIENT")
        self.assertEqual(programs, {"shira-adapter"})
        self.assertNotIn("grpc", commands)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
