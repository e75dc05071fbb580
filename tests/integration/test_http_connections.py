"""HTTP as bytes: who gets in, what is bounded, and what happens to clients that go away or do not read."""

import contextlib
import hashlib
import http.client
import json
import pathlib
import socket
import ssl
import tempfile
import time
import unittest

import httpx2 as httpx
from certificates import Authority

from fixtures import PROMPT, world
from server_process import ServerProcess

LONG = 15000  # tokens
TOKENS = {"inference": "token-of-inference-0123", "read-only": "token-of-read-only-0123", "admin": "token-of-admin-0123456"}
ENDLESS = {"prompt": PROMPT, "max_tokens": LONG, "ignore_eos": True, "temperature": 0}


def request_text(path="/v1/completions", body=None, method="POST", **headers):
    data = json.dumps(body).encode() if body is not None else b""
    fields = {"Host": "test", "Content-Length": len(data)} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class HttpConnectionsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def serve(self, *flags, adapters=("alpha",)):
        server, client = self.enterContext(world().server(*flags, adapters=adapters, http="127.0.0.1:0"))
        self.url = f"http://127.0.0.1:{server.http_port()}"
        return server, client

    def connect(self, server, receive_bytes=None):
        connection = socket.socket()
        self.addCleanup(connection.close)
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", server.http_port()))
        return connection

    def wait_for(self, condition, what):
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.05)

    def running(self, client):
        generations = client.operations.GetServerStatus().generations
        return generations.queued + generations.running

    def test_a_client_that_goes_away_ends_its_generation(self):
        server, client = self.serve()
        for stream in (False, True):
            connection = self.connect(server)
            connection.sendall(request_text(body=ENDLESS | {"stream": stream}, X_Request_Id=f"gone-{stream}"))
            if stream:
                self.assertIn(b"200 OK", connection.recv(4096))
            else:
                self.wait_for(lambda: self.running(client) > 0, "it runs")
            connection.close()
            self.wait_for(lambda: self.running(client) == 0, "it has ended")
            self.wait_for(lambda stream=stream: f"request=gone-{stream}" in server.log(), "its line")
            line = next(line for line in server.log().splitlines() if f"request=gone-{stream}" in line and "method=" in line)
            self.assertIn("status=CANCELLED", line)

    def test_a_client_that_does_not_read_loses_its_stream(self):
        server, client = self.serve("--max-unread-mb", 8)
        connection = self.connect(server, receive_bytes=4096)
        connection.sendall(request_text(body=ENDLESS | {"stream": True, "logprobs": 20}))
        self.assertIn(b"HTTP/1.1 ", connection.recv(20))
        self.wait_for(lambda: self.running(client) == 0, "it has ended")
        # Others are served meanwhile, and what was on its way still arrives, with the error at its end (or as the whole response, where the
        # model was faster than the stream's beginning).
        self.assertEqual(httpx.post(f"{self.url}/v1/completions", json={"prompt": "x", "max_tokens": 1}).status_code, 200)
        data = b""
        while b'"code":"ANSWER_NOT_READ"' not in data:
            part = connection.recv(1 << 16)
            self.assertTrue(part)
            data += part

    def test_many_idle_streams_cost_no_threads(self):
        server, client = self.serve("--max-queued", 300, "--max-queued-per-client", 300)
        threads = lambda: len(list(pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()))  # noqa: E731
        before = threads()
        connections = [self.connect(server) for _ in range(200)]
        for connection in connections:
            connection.sendall(request_text(body=ENDLESS | {"stream": True}))
        self.wait_for(lambda: self.running(client) == 200, "all are there")
        self.assertLessEqual(threads(), before)
        for connection in connections:
            connection.close()
        self.wait_for(lambda: self.running(client) == 0, "all have ended")

    def test_requests_beyond_the_limits_are_refused_and_others_served(self):
        server, _ = self.serve("--max-message-mb", 1, "--max-metadata-kb", 4)
        body = {"prompt": "x" * (2 << 20)}
        reply = httpx.post(f"{self.url}/v1/completions", json=body, timeout=60)
        self.assertEqual((reply.status_code, reply.json()["error"]["type"]), (413, "invalid_request_error"))
        self.assertIn("--max-message-mb", reply.json()["error"]["message"])
        connection = self.connect(server)
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"200000\r\n")
        self.assertIn(b"413", connection.recv(4096))
        reply = httpx.get(f"{self.url}/health", headers={"X-Long": "x" * 5000})
        self.assertEqual(reply.status_code, 431)
        self.assertEqual(httpx.get(f"{self.url}/health").status_code, 200)

    def test_a_connection_is_kept_and_may_send_ahead(self):
        server, _ = self.serve()
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port(), timeout=60)
        self.addCleanup(connection.close)
        for stream in (False, True, False):
            body = json.dumps({"prompt": PROMPT, "max_tokens": 4, "ignore_eos": True, "stream": stream})
            connection.request("POST", "/v1/completions", body)
            reply = connection.getresponse()
            data = reply.read()
            self.assertEqual(reply.status, 200)
            self.assertEqual(data.endswith(b"data: [DONE]\n\n"), stream)
        ahead = self.connect(server)
        ahead.sendall(request_text("/version", method="GET") * 2 + request_text("/health", method="GET", Connection="close"))
        data = b""
        while part := ahead.recv(4096):
            data += part
        self.assertEqual(data.count(b"HTTP/1.1 200 OK"), 3)

    def test_a_full_queue_says_when_to_try_again(self):
        server, client = self.serve("--max-queued", 1, "--max-running", 1)
        for _ in range(2):
            self.connect(server).sendall(request_text(body=ENDLESS))
            time.sleep(0.3)
        self.wait_for(lambda: self.running(client) == 2, "one runs, one waits")
        reply = httpx.post(f"{self.url}/v1/completions", json=ENDLESS)
        self.assertEqual((reply.status_code, reply.headers["Retry-After"]), (429, "1"))
        self.assertEqual(reply.json()["error"]["code"], "QUEUE_FULL")

    def test_roles_are_those_of_grpc(self):
        access = self.folder / "access"
        hashed = hashlib.sha256(TOKENS["admin"].encode()).hexdigest()
        access.write_text(f"inference web {TOKENS['inference']}\nread-only eye {TOKENS['read-only']}\nadmin ops sha256:{hashed}\n")
        server = self.enterContext(ServerProcess(*world().flags("alpha"), "--access-file", access, http="127.0.0.1:0"))
        self.url = f"http://127.0.0.1:{server.http_port()}"
        bodies = {"/v1/completions": {"prompt": "x", "max_tokens": 1},
                  "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1},
                  "/tokenize": {"prompt": "x"}, "/detokenize": {"tokens": [5]},
                  "/v1/load_lora_adapter": {"lora_name": "b", "lora_path": "beta"}, "/v1/unload_lora_adapter": {"lora_name": "b"},
                  "/v1/models": None, "/version": None}
        allowed = {"inference": {"/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize", "/v1/models", "/version"},
                   "read-only": {"/v1/models", "/version"}, "admin": set(bodies)}

        def status(path, body, token):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return httpx.request("GET" if body is None else "POST", self.url + path, json=body, headers=headers, timeout=60)

        for path, body in bodies.items():
            for token in (None, "wrong", TOKENS["admin"][:-1]):
                reply = status(path, body, token)
                self.assertEqual((reply.status_code, reply.headers["WWW-Authenticate"], reply.json()["error"]["type"]),
                                 (401, "Bearer", "authentication_error"))
            for role, paths in allowed.items():
                with self.subTest(path=path, role=role):
                    self.assertEqual(status(path, body, TOKENS[role]).status_code, 200 if path in paths else 403)
        self.assertEqual(status("/health", None, None).status_code, 200)
        self.assertEqual(status("/no/such/path", None, None).status_code, 401)
        self.assertEqual(status("/no/such/path", None, TOKENS["inference"]).status_code, 404)
        # The names of adapters are for those who may list them.
        models = {role: len(status("/v1/models", None, TOKENS[role]).json()["data"]) for role in TOKENS}
        self.assertEqual(models, {"inference": 1, "read-only": 2, "admin": 2})
        twice = httpx.get(f"{self.url}/version", headers=[("Authorization", f"Bearer {TOKENS['admin']}")] * 2)
        self.assertEqual(twice.status_code, 401)
        self.assertIn("identity=web", server.log())
        for token in TOKENS.values():
            self.assertNotIn(token, server.log())

    def test_the_administration_is_at_its_own_address(self):
        self.serve("--admin-listen", "127.0.0.1:0", adapters=())
        reply = httpx.post(f"{self.url}/v1/load_lora_adapter", json={"lora_name": "a", "lora_path": "alpha"})
        self.assertEqual((reply.status_code, reply.json()["error"]["code"]), (404, "UNKNOWN_PATH"))

    def test_a_unix_socket_is_served_too(self):
        path = self.folder / "http.sock"
        with world().server(adapters=(), http=f"unix:{path}"):
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
                self.assertEqual(client.get("http://server/health").status_code, 200)

    def test_a_drain_lets_streams_end_and_refuses_new_requests(self):
        server, client = self.serve("--drain-delay", 2)
        connection = self.connect(server)
        connection.sendall(request_text(body=ENDLESS | {"stream": True, "max_tokens": 500}))
        self.assertIn(b"200 OK", connection.recv(300))
        server.terminate()
        self.wait_for(lambda: "draining" in server.log(), "the drain")
        reply = httpx.post(f"{self.url}/v1/completions", json=ENDLESS)
        self.assertEqual((reply.status_code, reply.json()["error"]["code"]), (503, "SERVER_DRAINING"))
        self.assertEqual(httpx.get(f"{self.url}/health").status_code, 503)
        data = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                data += part
        self.assertTrue(data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"), data[-100:])
        connection.close()
        self.assertEqual(server.wait(), 0)

    def test_a_request_that_is_under_way_is_cancelled_at_the_end(self):
        server, _ = self.serve("--drain-timeout", 0)
        connection = self.connect(server)
        connection.sendall(request_text(body=ENDLESS | {"stream": True}))
        self.assertIn(b"200 OK", connection.recv(300))
        server.terminate()
        self.assertEqual(server.wait(), 0)


class HttpTlsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.authority = Authority(self.folder)
        self.certificate, self.key = self.authority.issue("server")

    def flags(self):
        return ("--tls-cert", self.certificate, "--tls-key", self.key, "--reload-interval", 1)

    def context(self, client=None):
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        if client:
            context.load_cert_chain(*map(str, client))
        return context

    def get(self, server, path="/v1/models", client=None, **headers):
        return httpx.get(f"https://localhost:{server.http_port()}{path}", verify=self.context(client), headers=headers)

    def serving(self, *flags):
        return self.enterContext(ServerProcess(*world().flags("alpha"), *self.flags(), *flags, http="127.0.0.1:0"))

    def test_tls_is_that_of_grpc_and_a_new_certificate_is_used(self):
        server = self.serving()
        self.assertEqual(self.get(server).status_code, 200)
        with self.assertRaises(httpx.HTTPError):
            httpx.get(f"http://localhost:{server.http_port()}/health")

        def serial():
            with socket.create_connection(("127.0.0.1", server.http_port())) as raw:
                with self.context().wrap_socket(raw, server_hostname="localhost") as connection:
                    return connection.getpeercert()["serialNumber"]

        before = serial()
        self.authority.issue("server")
        deadline = time.monotonic() + 30
        while serial() == before:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.2)
        self.assertEqual(self.get(server).status_code, 200)
        # A broken one changes nothing.
        self.certificate.write_text("no certificate")
        time.sleep(2)
        self.assertEqual(self.get(server).status_code, 200)
        self.assertIn("stay in force", server.log())

    def test_client_certificates_have_roles(self):
        access = self.folder / "access"
        access.write_text("inference web cert:web\nadmin ops cert:ops\n")
        server = self.serving("--tls-client-ca", self.authority.certificate, "--access-file", access)
        web, ops, other = (self.authority.issue(name) for name in ("web", "ops", "other"))
        self.assertEqual(self.get(server, client=web).status_code, 200)
        self.assertEqual(len(self.get(server, client=ops).json()["data"]), 2)
        self.assertEqual(self.get(server, client=other).status_code, 401)
        stranger = Authority(self.folder, "stranger").issue("ops")
        for client in (None, stranger):
            with self.assertRaises(httpx.HTTPError):
                self.get(server, client=client)

    def test_a_stream_over_tls_is_whole(self):
        server = self.serving()
        body = {"prompt": PROMPT, "max_tokens": 300, "ignore_eos": True, "stream": True, "temperature": 0}
        text = httpx.post(f"https://localhost:{server.http_port()}/v1/completions", json=body, verify=self.context(), timeout=60).text
        self.assertTrue(text.endswith("data: [DONE]\n\n"))
        chunks = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n")[:-2]]
        expected = world().tokenizer.decode(world().greedy(None, 300), skip_special_tokens=True)
        self.assertEqual("".join(chunk["choices"][0]["text"] for chunk in chunks), expected)


if __name__ == "__main__":
    unittest.main()
