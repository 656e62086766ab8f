#!/usr/bin/env python3
"""What a stream costs, by protocol: bytes of the process, and microseconds of a core to open one and to
deliver an event. The figures of `src/sizing/measured.rs` and docs/TUNING.md come from here.

    python3 scripts/stream-costs.py target/release/tidegate [--streams 3000] [--seconds 6]

The gateway has core 0 and one shard, this script core 1. TLS needs openssl(1) for a certificate.
"""

import argparse
import http.client
import os
import resource
import selectors
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

HZ = os.sysconf("SC_CLK_TCK")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, WINDOW_UPDATE = 1, 4, 8
WINDOW_MAX = 2**31 - 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    """A literal of HPACK that is not indexed."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


class Gateway:
    def __init__(self, binary, folder, over_tls):
        self.public, self.internal, self.tls = free_port(), free_port(), free_port()
        command = ["taskset", "-c", "0", binary, "run", "--shards", "1", "--log-level", "warn"]
        command += ["--listen", f"127.0.0.1:{self.public}", "--internal", f"127.0.0.1:{self.internal}"]
        command += ["--set", "stream.heartbeat=10m"]
        if over_tls:
            config = os.path.join(folder, "tls.toml")
            with open(config, "w") as file:
                file.write(f'[tls]\nlisten = "127.0.0.1:{self.tls}"\n[[tls.certificates]]\n')
                file.write(f'chain = "{folder}/cert.pem"\nkey = "{folder}/key.pem"\n')
            command += ["--config", config]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + 10
        while self.get("/healthz") is None:
            if time.monotonic() > deadline:
                sys.exit("the gateway did not start")
            time.sleep(0.05)

    def get(self, path):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.internal, timeout=10)
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except OSError:
            return None

    def metric(self, name):
        lines = (self.get("/metrics") or "").splitlines()
        values = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return sum(float(value) for key, value in values if key.split("{")[0] == name)

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / HZ

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Crowd:
    """Streams whose clients read all they are sent."""

    def __init__(self, gateway, protocol, each, own_topics):
        self.gateway, self.protocol, self.each, self.own_topics = gateway, protocol, each, own_topics
        self.sockets, self.selector = [], selectors.DefaultSelector()
        self.tls = ssl.create_default_context()
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        if protocol == "h2":
            self.tls.set_alpn_protocols(["h2"])

    def streams(self):
        return len(self.sockets) * self.each

    def open(self):
        over_tls = self.protocol != "h1"
        port = self.gateway.tls if over_tls else self.gateway.public
        client = socket.create_connection(("127.0.0.1", port))
        if over_tls:
            client = self.tls.wrap_socket(client)
        topic = b"t.%d" % len(self.sockets) if self.own_topics else b"t"
        path = b"/events?topic=" + topic
        if self.protocol == "h2":
            window = struct.pack(">HI", SETTINGS, WINDOW_MAX)
            head = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", path), (b":authority", b"x")]
            block = b"".join(field(*pair) for pair in head)
            request = PREFACE + frame(SETTINGS, 0, 0, window)
            request += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW_MAX - 65535))
            request += b"".join(frame(HEADERS, 5, 1 + 2 * n, block) for n in range(self.each))
            client.sendall(request + frame(SETTINGS, 1, 0))
        else:
            client.sendall(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        client.setblocking(False)
        self.selector.register(client, selectors.EVENT_READ)
        self.sockets.append(client)

    def fill(self, streams):
        while self.streams() < streams:
            self.open()
            if len(self.sockets) % 50 == 0:
                self.read(0)
        self.settle()

    def read(self, timeout):
        for key, _ in self.selector.select(timeout):
            try:
                while len(key.fileobj.recv(65536)) >= 16384:
                    pass
            except (ssl.SSLWantReadError, BlockingIOError):
                pass

    def settle(self):
        for _ in range(25):
            self.read(0.02)


def measure(binary, folder, protocol, each, own_topics, streams, seconds):
    gateway = Gateway(binary, folder, protocol != "h1")
    try:
        at_start = gateway.descriptors()
        crowd = Crowd(gateway, protocol, each, own_topics)
        crowd.fill(streams // 4)
        few, memory = crowd.streams(), gateway.memory()
        before = gateway.cpu_seconds()
        crowd.fill(streams)
        more = crowd.streams() - few
        opening_us = (gateway.cpu_seconds() - before) / more * 1e6
        slope = (gateway.memory() - memory) / more
        line = f"{protocol:4} {each:3} a connection, {crowd.streams()} streams"
        line += ", a topic each" if own_topics else ""
        line += f": {slope:.0f} B and {opening_us:.0f} µs to open each; {at_start} descriptors at the start"
        if not own_topics:
            line += f"; {delivery_us(gateway, crowd, seconds):.1f} µs a delivery"
        print(line, flush=True)
    finally:
        gateway.process.kill()
        gateway.process.wait()


def delivery_us(gateway, crowd, seconds):
    """One event at a time: the next is published when all have read the one before."""
    publisher = http.client.HTTPConnection("127.0.0.1", gateway.internal)
    before, delivered = gateway.cpu_seconds(), gateway.metric("tidegate_events_delivered_total")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        publisher.request("POST", "/topics/t", body=b"x" * 128)
        publisher.getresponse().read()
        pause = time.monotonic() + 0.12
        while time.monotonic() < pause:
            crowd.read(0.005)
    crowd.settle()
    delivered = gateway.metric("tidegate_events_delivered_total") - delivered
    return (gateway.cpu_seconds() - before) / delivered * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--streams", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=6)
    arguments = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as folder:
        request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        request += ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-subj", "/CN=x"]
        subprocess.run(request, check=True, capture_output=True)
        for protocol, each, own_topics in [
            ("h1", 1, False),
            ("h1", 1, True),
            ("tls", 1, False),
            ("h2", 1, False),
            ("h2", 6, False),
            ("h2", 100, False),
        ]:
            measure(arguments.binary, folder, protocol, each, own_topics, arguments.streams, arguments.seconds)


main()
