"""HTTP/2 by hand, for what gRPC's clients refuse to send: well-formed frames, headers as literals that no table keeps."""

import socket
import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
MAX_FRAME = 16384


def _number(value, prefix_bits):
    """An integer of RFC 7541, 5.1, with nothing in the bits before the prefix."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes([value])
    encoded, value = bytes([most]), value - most
    while value >= 128:
        encoded, value = encoded + bytes([value % 128 + 128]), value // 128
    return encoded + bytes([value])


def header_block(headers):
    def text(value):
        return _number(len(value), 7) + value.encode()

    return b"".join(b"\x10" + text(name) + text(value) for name, value in headers)


class Connection:
    def __init__(self, target, timeout=10):
        host, port = target.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=timeout)
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.send(SETTINGS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, kind, payload=b"", flags=0, stream=0):
        self._socket.sendall(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload)

    def call(self, stream, path, message=b"", metadata=(), says=None):
        """Sends a gRPC call: its headers, in as many frames as they need, and one message. That is the whole call, unless the message says
        that it is longer."""
        block = header_block([(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
                              ("te", "trailers"), ("content-type", "application/grpc"), *metadata])
        frames = [block[start:start + MAX_FRAME] for start in range(0, len(block), MAX_FRAME)]
        for index, frame in enumerate(frames):
            last = END_HEADERS if index == len(frames) - 1 else 0
            self.send(CONTINUATION if index else HEADERS, frame, last, stream)
        end = END_STREAM if says is None else 0
        self.send(DATA, b"\0" + struct.pack(">I", len(message) if says is None else says) + message, end, stream)

    def _exactly(self, count):
        received = b""
        while len(received) < count:
            more = self._socket.recv(count - len(received))
            if not more:
                raise ConnectionError("the server has closed the connection")
            received += more
        return received

    def frames(self):
        """(kind, flags, stream, payload) of each frame that comes. ConnectionError once there are no more."""
        while True:
            head = self._exactly(9)
            payload = self._exactly(int.from_bytes(head[:3], "big"))
            yield head[3], head[4], int.from_bytes(head[5:], "big"), payload

    def wait_for(self, kind, stream=0):
        """The next frame of one kind and stream; others before it are dropped, except that a GOAWAY is an error."""
        for found, _, of, payload in self.frames():
            if found == GOAWAY and kind != GOAWAY:
                raise ConnectionError(f"the server says goodbye: {payload[8:]!r}")
            if (found, of) == (kind, stream):
                return payload
