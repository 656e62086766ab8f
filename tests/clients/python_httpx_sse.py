"""PyPI's httpx-sse: prints every event it receives until the one named `last`.

Argument: {"url", "ready", "last", "cookie"}; names need no list here, an unexpected one shows.
"""

import json
import sys

import httpx
from httpx_sse import connect_sse


def report(**line: object) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    order = json.loads(sys.argv[1])
    with (
        httpx.Client(timeout=30, trust_env=False) as client,
        connect_sse(
            client, "GET", order["url"], headers={"cookie": order.get("cookie", "")}
        ) as source,
    ):
        source.response.raise_for_status()
        for event in source.iter_sse():
            if event.event == order["ready"]:
                report(ready=True)
            elif event.event == order["last"]:
                report(done=True)
                return
            else:
                report(event=event.event, data=event.data, id=event.id)
    report(error="the stream ended")


main()
