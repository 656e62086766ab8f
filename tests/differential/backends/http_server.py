"""Python's own http.server, with bodies read as its users read them: prints each request that it has
got whole as `METHOD TARGET BODY-IN-HEX`, and answers with its number."""

import itertools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NUMBERS = itertools.count()
PRINTING = threading.Lock()


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that has gone, or a body that makes no sense, ends the connection alone."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self):
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            body = self.chunks()
        else:
            body = self.exactly(int(self.headers.get("content-length", 0)))
        with PRINTING:
            number = next(NUMBERS)
            # `self.path` has lost slashes at its front.
            print(self.command, self.requestline.split()[1], body.hex(), flush=True)
        self.send_response(200)
        self.send_header("x-seen", str(number))
        self.send_header("content-length", "0")
        self.end_headers()

    def chunks(self):
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.exactly(size)
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b"\n", b""):
            pass
        return body

    def exactly(self, length):
        body = self.rfile.read(length)
        if len(body) < length:
            raise EOFError
        return body

    def log_message(self, format, *args):
        """Nothing: what matters is printed."""


with Server(("127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
