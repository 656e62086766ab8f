#!/usr/bin/env python3
"""Measures what slowhttptest's four attacks do to a client that behaves.

A gateway is started in front of a small app server. A client publishes, receives each event on a
stream, and asks the app server through the gateway; once with nobody else, and once during each
attack. Prints the p50 and p99 of both latencies, and their ratios to those of the calm. The attacker has
the last core for itself, and all others share the rest: slowhttptest takes a whole core to read slowly,
and what it takes from the others is not the gateway's doing.
"""

import argparse
import http.client
import http.server
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BODIES = {"/small": b"ok", "/large": bytes(4 << 20)}

# What slowhttptest is told, beside URL, length and connections.
ATTACKS = {
    "slow headers (-H)": ["-H", "-i", "5", "-r", "200", "-t", "GET", "-x", "24", "-p", "3"],
    "slow body (-B)": ["-B", "-i", "5", "-r", "200", "-s", "8192", "-t", "POST", "-x", "10", "-p", "3"],
    "ranges (-R)": ["-R", "-r", "200", "-t", "HEAD", "-a", "10", "-b", "3000", "-p", "3"],
    "slow read (-X)": ["-X", "-r", "200", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-p", "3"],
}


class App(http.server.BaseHTTPRequestHandler):
    """Answers every request, /large with a large body."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # Head and body in one write.

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = BODIES[self.path]
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_HEAD = do_POST = answer

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass  # The gateway gave an attacker up.

    def log_message(self, *_):
        pass


class Apps(http.server.ThreadingHTTPServer):
    """As many connections as the gateway makes."""

    request_queue_size = 4096
    daemon_threads = True


def serve(port):
    """The app server: a process of its own, so that its threads do not delay what is measured."""
    Apps(("127.0.0.1", port), App).serve_forever()


class Healthy:
    """Measures for as long as it is told."""

    def __init__(self, public, internal):
        self.public, self.internal = public, internal
        stream = http.client.HTTPConnection("127.0.0.1", public)
        stream.request("GET", "/events?topic=healthy")
        threading.Thread(target=self.receive, args=(stream.getresponse(),), daemon=True).start()
        self.events = []

    def receive(self, response):
        for line in response:
            now = time.perf_counter()
            if line.startswith(b"data: at "):
                self.events.append(now - float(line.split()[2]))

    def measure(self, seconds):
        publisher = http.client.HTTPConnection("127.0.0.1", self.internal)
        asker = http.client.HTTPConnection("127.0.0.1", self.public)
        self.events, requests = [], []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            publisher.request("POST", "/topics/healthy", f"at {time.perf_counter()}")
            publisher.getresponse().read()
            begun = time.perf_counter()
            asker.request("GET", "/small")
            asker.getresponse().read()
            requests.append(time.perf_counter() - begun)
            time.sleep(0.01)
        time.sleep(0.2)
        return {"event": quantiles(self.events), "request": quantiles(requests)}


def quantiles(seconds):
    """p50 and p99 in milliseconds."""
    ordered = sorted(seconds)
    at = lambda part: round(1000 * ordered[min(int(part * len(ordered)), len(ordered) - 1)], 2)
    return {"count": len(ordered), "p50_ms": at(0.5), "p99_ms": at(0.99)}


def rss_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise SystemExit("the gateway has ended")


def start_gateway(binary, config):
    gateway = subprocess.Popen(
        [binary, "run", "--config", config, "--log-format", "json"],
        stderr=subprocess.PIPE, text=True,
    )
    for line in gateway.stderr:
        if json.loads(line).get("message") == "listening":
            # Nobody reads the rest, and it must not stand in the way.
            drain = lambda: [None for _ in gateway.stderr]
            threading.Thread(target=drain, daemon=True).start()
            return gateway
    raise SystemExit("the gateway did not start")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", help="the gateway")
    parser.add_argument("--port", type=int, default=9180, help="this and the next two are used")
    parser.add_argument("--connections", type=int, default=1000, help="of the attacker")
    parser.add_argument("--seconds", type=int, default=15, help="of each measurement")
    parser.add_argument("--attack", default="", help="only those whose name holds this")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    *others, attackers = sorted(os.sched_getaffinity(0))
    if not others:
        raise SystemExit("two cores are needed: one for the attacker")
    os.sched_setaffinity(0, others)
    public, internal, app = (options.port + offset for offset in range(3))

    multiprocessing.Process(target=serve, args=(app,), daemon=True).start()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(
            f'[server]\nlisten = "127.0.0.1:{public}"\ninternal = "127.0.0.1:{internal}"\n'
            f'[proxy]\nupstream = "http://127.0.0.1:{app}"\n'
        )
        config.flush()
        gateway = start_gateway(options.binary, config.name)
    try:
        healthy = Healthy(public, internal)
        healthy.measure(1)
        figures = {"calm": healthy.measure(options.seconds)}
        figures["calm"]["rss_mib"] = rss_mib(gateway.pid)
        for name, arguments in ATTACKS.items():
            if options.attack not in name:
                continue
            path = "large" if "read" in name else "small"
            attack = subprocess.Popen(
                ["slowhttptest", *arguments, "-c", str(options.connections),
                 "-l", str(options.seconds + 10), "-u", f"http://127.0.0.1:{public}/{path}"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            os.sched_setaffinity(attack.pid, [attackers])
            time.sleep(5)  # Until its connections are there.
            figures[name] = healthy.measure(options.seconds)
            figures[name]["rss_mib"] = rss_mib(gateway.pid)
            attack.terminate()
            attack.wait()
    finally:
        gateway.terminate()
        gateway.wait()

    print("| | event p50 ms | p99 ms | ratio | request p50 ms | p99 ms | ratio | RSS MiB |")
    print("|---|---|---|---|---|---|---|---|")
    calm = figures["calm"]
    for name, row in figures.items():
        cells = [name]
        for kind in ("event", "request"):
            cells += [row[kind]["p50_ms"], row[kind]["p99_ms"]]
            cells.append(round(row[kind]["p99_ms"] / calm[kind]["p99_ms"], 2))
        print("|", " | ".join(map(str, [*cells, row["rss_mib"]])), "|")
    if options.out:
        about = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "date": time.strftime("%Y-%m-%d"),
            "command": " ".join(sys.argv[1:]),
        }
        options.out.write_text(json.dumps({**about, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
