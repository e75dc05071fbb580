"""Installs the client library into an empty folder; builds and runs the project in outside/ with it.

usage: install_test.py BUILD_FOLDER FAKE_SERVER
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

BUILD, FAKE_SERVER = sys.argv[1:3]
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

    def test_names_no_folder_of_this_tree(self):
        source = str(pathlib.Path(__file__).parents[2])
        for path in [*self.prefix.rglob("*.cmake"), *self.prefix.rglob("*.h")]:
            self.assertNotIn(source, path.read_text(), path)

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


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
