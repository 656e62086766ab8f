"""A server on h11, the parser under uvicorn and httpx: prints each request that it has got whole as
`METHOD TARGET BODY-IN-HEX`, and answers with its number."""

import contextlib
import itertools
import socketserver
import threading

import h11

NUMBERS = itertools.count()
PRINTING = threading.Lock()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


class Connection(socketserver.BaseRequestHandler):
    def handle(self):
        self.http = h11.Connection(h11.SERVER)
        # The client may go at any time.
        with contextlib.suppress(OSError):
            self.talk()

    def talk(self):
        try:
            while self.exchange():
                self.http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if self.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.answer(error.error_status_hint, [("connection", "close")])

    def exchange(self):
        """Whether another request may follow."""
        request = self.event()
        if not isinstance(request, h11.Request) or request.method == b"CONNECT":
            return False
        body = b""
        while isinstance(event := self.event(), h11.Data):
            body += event.data
        with PRINTING:
            number = next(NUMBERS)
            print(request.method.decode(), request.target.decode("latin-1"), body.hex(), flush=True)
        self.answer(200, [("x-seen", str(number))])
        return self.http.our_state is h11.DONE and self.http.their_state is h11.DONE

    def event(self):
        while (event := self.http.next_event()) is h11.NEED_DATA:
            if self.http.they_are_waiting_for_100_continue:
                self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.http.receive_data(self.request.recv(65536))
        return event

    def answer(self, status, headers):
        self.send(h11.Response(status_code=status, headers=[*headers, ("content-length", "0")]))
        self.send(h11.EndOfMessage())

    def send(self, event):
        self.request.sendall(self.http.send(event))


with Server(("127.0.0.1", 0), Connection) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
