"""TLS, client certificates, tokens and roles: what gets in, and above all what does not."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import tempfile
import time
import unittest

import grpc
import shira_testutil
from certificates import Authority
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from fixtures import PROMPT, world
from server_process import Client, ServerProcess, open_channel

Code = grpc.StatusCode
TOKENS = {role: f"token-of-{role}-0123456789" for role in ("inference", "read-only", "admin")}
HEALTH = "/grpc.health.v1.Health/"
NO_METHOD = "unknown method"
# Who besides the admin may call what. A method that is in neither line is for the admin alone.
ALLOWED = {
    "inference": {"Generate", "StreamGenerate", "Tokenize", "Detokenize", "GetModel", "ServerReflectionInfo"},
    "read-only": {"GetModel", "ListAdapters", "GetAdapter", "ListAliases", "GetResidentState",
                  "GetServerStatus", "ServerReflectionInfo"},
}
ADMIN_ONLY = {"LoadAdapter", "UploadAdapter", "CreateBlend", "UnloadAdapter", "PinAdapter", "UnpinAdapter", "SetAlias",
              "RollbackAlias", "DeleteAlias", "ApplyAdapter", "RevertAdapter", "VerifyWeights"}


def write_access_file(path):
    hashed = hashlib.sha256(TOKENS["admin"].encode()).hexdigest()
    path.write_text(f"# roles name credential\ninference web {TOKENS['inference']}\n"
                    f"read-only eye {TOKENS['read-only']}\nadmin ops sha256:{hashed}\n")
    return path


def call(channel, method, message=b"", timeout=10):
    """(code, details) of a call with any kind of method: one message goes out, and all that come are read."""
    try:
        list(channel.unary_stream(method)(message, timeout=0.5 if method.endswith("/Watch") else timeout))
        return Code.OK, ""
    except grpc.RpcError as error:
        return error.code(), error.details()


def descriptors(channel):
    """Every method of the server, with its descriptor, as its reflection tells."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = descriptor_pool.DescriptorPool(database)
    # gRPC has its own services without their descriptors.
    known = {s.full_name: s for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
             for s in file.services_by_name.values()}
    services = [known.get(name) or pool.FindServiceByName(name) for name in database.get_services()]
    methods = {f"/{s.full_name}/{m.name}": m for s in services for m in s.methods}
    methods.pop(HEALTH + "List", None)  # newer than the server's
    return methods


class SecurityTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.access = write_access_file(self.folder / "access")

    @contextlib.contextmanager
    def server(self, *flags, adapters=("alpha",)):
        with ServerProcess(*world().flags(*adapters), *flags) as server:
            yield server


class EveryMethodTest(SecurityTest):
    """Over the methods that the server says it has, so that a new one cannot be forgotten."""

    def setUp(self):
        super().setUp()
        self.outside = self.folder / "outside"  # the operator's, and nobody else's
        shutil.copytree(world().adapters / "beta", self.outside)
        self.running = self.enterContext(self.server("--access-file", self.access, "--adapter", f"started={self.outside}",
                                                     adapters=()))
        admin = open_channel(self.running.target, token=TOKENS["admin"])
        self.methods = descriptors(admin)
        self.assertEqual(call(admin, "/shira.v1.AdapterAdmin/LoadAdapter", b"\n\5alpha\x12\5alpha")[0], Code.OK)

    def check_reached(self, code, details):
        """The service has seen the call, whatever it made of it."""
        self.assertNotIn(code, (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED), details)
        self.assertNotEqual(details, NO_METHOD)

    def test_nobody_gets_in_without_a_token_that_is_known(self):
        self.assertGreater(len(self.methods), 15)
        for token in (None, "wrong", TOKENS["admin"][:-1], TOKENS["admin"] + "x", "",
                      hashlib.sha256(TOKENS["admin"].encode()).hexdigest()):
            channel = open_channel(self.running.target, token=token)
            for method in self.methods:
                with self.subTest(method=method, token=token):
                    code, _ = call(channel, method)
                    if method.startswith(HEALTH):
                        self.assertIn(code, (Code.OK, Code.DEADLINE_EXCEEDED))
                    else:
                        self.assertEqual(code, Code.UNAUTHENTICATED)

    def test_every_method_wants_its_role(self):
        for role in ALLOWED:
            channel = open_channel(self.running.target, token=TOKENS[role])
            for method in self.methods:
                name = method.rsplit("/", 1)[1]
                with self.subTest(method=method, role=role):
                    if not method.startswith(HEALTH):
                        self.assertIn(name, set.union(ADMIN_ONLY, *ALLOWED.values()), "a new method: who may call it?")
                    code, details = call(channel, method)
                    if method.startswith(HEALTH) or name in ALLOWED[role]:
                        self.check_reached(code, details)
                    else:
                        self.assertEqual(code, Code.PERMISSION_DENIED)
                        self.assertIn("may not call", details)

    def test_the_admin_may_call_every_method(self):
        channel = open_channel(self.running.target, token=TOKENS["admin"])
        for method in self.methods:
            with self.subTest(method=method):
                self.check_reached(*call(channel, method))

    def test_a_method_that_is_not_in_the_table_cannot_be_called(self):
        for method in ("/shira.v1.AdapterAdmin/Forgotten", "/no.Such/Method", "/", "/shira.v1.AdapterAdmin/LoadAdapter/"):
            self.assertEqual(call(open_channel(self.running.target), method)[0], Code.UNAUTHENTICATED)
            code, details = call(open_channel(self.running.target, token=TOKENS["admin"]), method)
            self.assertEqual((code, details), (Code.UNIMPLEMENTED, NO_METHOD))

    def test_no_path_leads_out_of_the_roots(self):
        outside = self.outside
        link, dangling = world().adapters / "link", world().adapters / "dangling"
        link.symlink_to(outside)
        dangling.symlink_to(self.folder / "nothing" / "there")
        self.addCleanup(link.unlink)
        self.addCleanup(dangling.unlink)
        tried = 0
        channel = open_channel(self.running.target, token=TOKENS["admin"])
        for method, descriptor in self.methods.items():
            fields = [f.name for f in descriptor.input_type.fields if "path" in f.name]
            request_class = message_factory.GetMessageClass(descriptor.input_type)
            for field in fields:
                for path in (outside, outside / "new", outside / "new.shira", self.folder / "new", "link", "link/../../outside", "../outside", "alpha/../../outside", "/etc/passwd",
                             "/dev/zero", "/proc/self/environ", "dangling", "dangling/x", "alpha/\0/x", "", "a" * 5000,
                             "/" * 4096, "..", ".", "/"):
                    request = {field: str(path)}
                    names = descriptor.input_type.fields_by_name
                    if "name" in names:
                        request["name"] = "escape"
                    if "parts" in names:
                        request["parts"] = [{"name": "alpha"}]
                    code, details = call(channel, method, request_class(**request).SerializeToString())
                    with self.subTest(method=method, path=str(path)[:40]):
                        if field == "save_path" and path == "":
                            continue  # says that nothing is saved
                        tried += 1
                        self.assertIn(code, (Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT, Code.NOT_FOUND,
                                             Code.ALREADY_EXISTS, Code.UNIMPLEMENTED), details)
                        self.assertNotIn("root:", details)
        self.assertGreater(tried, 20)
        self.assertEqual(sorted(os.listdir(self.folder)), ["access", "outside"])
        self.assertEqual(sorted(os.listdir(outside)), sorted(os.listdir(world().adapters / "beta")))


class TokenTest(SecurityTest):
    def test_a_changed_file_counts_at_once_and_a_bad_one_changes_nothing(self):
        with self.server("--access-file", self.access, "--reload-interval", 1) as server:
            def model(token):
                return call(open_channel(server.target, token=token), "/shira.v1.Inference/GetModel")[0]

            def wait_until(token, code):
                deadline = time.monotonic() + 30
                while model(token) != code:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.1)

            self.assertEqual(model(TOKENS["inference"]), Code.OK)
            replacement = self.folder / "new"
            replacement.write_text("inference web another-token-012345\n")
            replacement.rename(self.access)
            wait_until("another-token-012345", Code.OK)
            self.assertEqual(model(TOKENS["inference"]), Code.UNAUTHENTICATED)
            self.access.write_text("inference web\n")
            deadline = time.monotonic() + 30
            while "stays in force" not in server.log():
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
            self.assertEqual(model("another-token-012345"), Code.OK)

    def test_tokens_are_never_in_the_log(self):
        with self.server("--access-file", self.access, "--log-format", "json") as server:
            for token in (TOKENS["admin"], "a-guess-that-is-wrong-01"):
                call(open_channel(server.target, token=token), "/shira.v1.Inference/GetModel")
            server.terminate()
            server.wait()
            log = server.log()
            self.assertIn('"identity":"ops"', log)
            self.assertIn('"event":"refused"', log)
            for secret in (TOKENS["admin"], "a-guess-that-is-wrong-01", hashlib.sha256(TOKENS["admin"].encode()).hexdigest()):
                self.assertNotIn(secret, log)


class PortsTest(SecurityTest):
    def test_the_administration_can_have_a_port_of_its_own(self):
        port_file = self.folder / "port"
        with self.server("--admin-listen", "127.0.0.1:0", "--admin-port-file", port_file) as server:
            inference = Client(server.target, services=("inference", "operations"))
            admin = Client(f"127.0.0.1:{port_file.read_text().strip()}", services=("admin", "operations"))
            self.assertEqual(len(admin.admin.ListAdapters().adapters), 1)
            self.assertEqual(inference.inference.GetModel().architecture, "llama")
            for client in (inference, admin):
                self.assertEqual(client.operations.GetServerStatus().state, 20)
                self.assertEqual(client.serving(), "SERVING")
            self.assertEqual(call(inference.channel, "/shira.v1.AdapterAdmin/ListAdapters")[0], Code.UNIMPLEMENTED)
            self.assertEqual(call(admin.channel, "/shira.v1.Inference/GetModel")[0], Code.UNIMPLEMENTED)
            server.terminate()
            self.assertEqual(server.wait(), 0)
            self.assertFalse(port_file.exists())


class TlsTest(SecurityTest):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder)
        self.certificate, self.key = self.authority.issue("server")

    def tls_flags(self):
        return "--tls-cert", self.certificate, "--tls-key", self.key

    def trust(self, authority=None, client=None):
        certificate, key = client or (None, None)
        return grpc.ssl_channel_credentials((authority or self.authority).certificate.read_bytes(),
                                            key and key.read_bytes(), certificate and certificate.read_bytes())

    def model(self, server, credentials=None, token=None):
        with contextlib.closing(open_channel(server.target, credentials)) as plain:
            channel = open_channel(server.target, credentials, token) if token else plain
            return call(channel, "/shira.v1.Inference/GetModel", timeout=5)[0]

    def test_plain_text_and_strangers_are_refused(self):
        stranger = Authority(self.folder, "stranger")
        with self.server(*self.tls_flags()) as server:
            self.assertEqual(self.model(server, self.trust()), Code.OK)
            self.assertNotEqual(self.model(server), Code.OK)
            self.assertNotEqual(self.model(server, self.trust(stranger)), Code.OK)
            client = server.client(credentials=self.trust())
            self.assertEqual(len(client.inference.Generate(prompt=PROMPT, stop={"max_tokens": 3}).token_ids), 3)

    def test_tokens_work_over_tls(self):
        with self.server(*self.tls_flags(), "--access-file", self.access) as server:
            self.assertEqual(self.model(server, self.trust()), Code.UNAUTHENTICATED)
            self.assertEqual(self.model(server, self.trust(), TOKENS["inference"]), Code.OK)

    def test_client_certificates_have_roles(self):
        self.access.write_text("inference web cert:web\nadmin ops cert:ops\nread-only eye token-of-eye-0123456789\n")
        others = Authority(self.folder, "others")
        flags = (*self.tls_flags(), "--tls-client-ca", self.authority.certificate, "--access-file", self.access)
        with self.server(*flags) as server:
            def load(name):
                channel = open_channel(server.target, self.trust(client=self.authority.issue(name)))
                return call(channel, "/shira.v1.AdapterAdmin/LoadAdapter")[0]

            self.assertEqual(load("ops"), Code.INVALID_ARGUMENT)  # the request is empty
            self.assertEqual(load("web"), Code.PERMISSION_DENIED)
            self.assertEqual(load("unknown"), Code.UNAUTHENTICATED)
            self.assertNotEqual(self.model(server, self.trust()), Code.OK)
            self.assertNotEqual(self.model(server, self.trust(client=others.issue("ops"))), Code.OK)
        with self.server(*flags, "--tls-client-optional") as server:
            self.assertEqual(self.model(server, self.trust()), Code.UNAUTHENTICATED)
            self.assertEqual(self.model(server, self.trust(), "token-of-eye-0123456789"), Code.OK)
            self.assertEqual(self.model(server, self.trust(client=self.authority.issue("web"))), Code.OK)
            self.assertNotEqual(self.model(server, self.trust(client=others.issue("ops"))), Code.OK)

    def test_a_new_certificate_is_used_without_a_restart(self):
        renewed = Authority(self.folder, "renewed")
        with self.server(*self.tls_flags(), "--reload-interval", 1) as server:
            old = server.client(credentials=self.trust())
            self.assertNotEqual(self.model(server, self.trust(renewed)), Code.OK)
            certificate, key = renewed.issue("server")
            shutil.copy(key, self.key)
            shutil.copy(certificate, self.certificate)
            deadline = time.monotonic() + 30
            while self.model(server, self.trust(renewed)) != Code.OK:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.2)
            self.assertEqual(old.inference.GetModel().architecture, "llama")  # its connection stays

    def test_the_command_line_client_speaks_all_of_it(self):
        self.access.write_text("admin ops cert:ops\nread-only eye token-of-eye-0123456789\n")
        token = self.folder / "token"
        token.write_text("token-of-eye-0123456789\n")
        certificate, key = self.authority.issue("ops")
        with self.server(*self.tls_flags(), "--tls-client-ca", self.authority.certificate, "--tls-client-optional",
                         "--access-file", self.access) as server:
            def shira(*args, ca=self.authority.certificate):
                return shira_testutil.run_binary("shira", *args, "--server", server.target.replace("127.0.0.1", "localhost"),
                                                 "--tls-ca", ca, "--connect-timeout", 3, check=False)

            self.assertEqual(shira("status").returncode, 0)
            self.assertIn("not for this token", shira("status").stdout)
            self.assertIn("KV memory", shira("status", "--token-file", token).stdout)
            refused = shira("adapter", "revert", "--token-file", token)
            self.assertEqual((refused.returncode, "PERMISSION_DENIED" in refused.stderr), (1, True))
            reverted = shira("adapter", "revert", "--tls-cert", certificate, "--tls-key", key)
            self.assertEqual(reverted.returncode, 0, reverted.stderr)
            self.assertEqual(shira("status", ca=Authority(self.folder, "stranger").certificate).returncode, 3)


class ConfigTest(SecurityTest):
    """--check-config finds what would keep the server from starting, or from being reached."""

    def check(self, *flags):
        return shira_testutil.run_binary("shira-server", *world().flags("alpha"), *flags, "--check-config", check=False)

    def refuse(self, *flags, says):
        result = self.check(*flags)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertEqual(result.stdout, "")
        self.assertIn(says, result.stderr)
        # The server itself says the same.
        started = shira_testutil.run_binary("shira-server", *world().flags("alpha"), "--listen", "127.0.0.1:0", *flags,
                                            check=False)
        self.assertEqual(started.returncode, 1)
        self.assertIn(says, started.stderr)

    def test_a_good_config_is_in_order(self):
        authority = Authority(self.folder)
        certificate, key = authority.issue("server")
        result = self.check("--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", authority.certificate,
                            "--access-file", self.access, "--listen", "0.0.0.0:0")
        self.assertEqual((result.returncode, result.stdout), (0, "the config is valid\n"), result.stderr)

    def test_bad_files_are_named(self):
        authority = Authority(self.folder)
        certificate, key = authority.issue("server")
        _, other_key = authority.issue("other")
        expired, expired_key = authority.issue("expired", days=-1)
        tls = ("--tls-cert", certificate, "--tls-key", key)
        self.refuse("--tls-cert", certificate, "--tls-key", other_key, says="is not the key of the certificate")
        self.refuse("--tls-cert", expired, "--tls-key", expired_key, says="has expired")
        self.refuse("--tls-cert", certificate, "--tls-key", self.folder / "nothing", says="does not exist")
        self.refuse("--tls-cert", self.access, "--tls-key", key, says="PEM certificate")
        self.refuse(*tls, "--tls-client-ca", key, says="PEM certificate")
        self.access.write_text("operator ops x\n")
        self.refuse("--access-file", self.access, says="line 1")
        self.access.write_text("admin ops cert:ops\n")
        self.refuse("--access-file", self.access, says="--tls-client-ca")
        self.refuse("--access-file", self.folder / "nothing", says="nothing")
