"""PyPI's websockets, against an app that echoes: prints what comes back.

Argument: {"url", "ca"}
"""

import json
import secrets
import ssl
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


def report(**line: object) -> None:
    print(json.dumps(line), flush=True)


def open_socket(url: str, ca: str | None) -> ClientConnection:
    context = ssl.create_default_context(cafile=ca) if ca else None
    address = url.replace("http", "ws", 1) + "/ws"
    return connect(address, ssl=context, subprotocols=["echo"], proxy=None)


def echoed(socket: ClientConnection, message: str | bytes) -> str | bytes:
    socket.send(message)
    return socket.recv(timeout=10)


def main() -> None:
    order = json.loads(sys.argv[1])
    with open_socket(order["url"], order["ca"]) as socket:
        report(protocol=socket.subprotocol)
        report(text=echoed(socket, "Grüße, 世界!"))
        report(binary=echoed(socket, bytes([0, 255, 13, 10])).hex())
        large = secrets.token_bytes(1_000_000)
        back = echoed(socket, large)
        report(large=len(back), same=back == large)
        question = "are you there?"
        if socket.ping(question).wait(timeout=10):
            report(pong=question)
        socket.send("close 4001 enough of that")
        try:
            socket.recv(timeout=10)
        except ConnectionClosed as closed:
            report(app_closed=closed.rcvd.code, reason=closed.rcvd.reason)

    with open_socket(order["url"], order["ca"]) as socket:
        socket.close(4002, "leaving")
        report(we_closed=socket.close_code)
    report(done=True)


main()
