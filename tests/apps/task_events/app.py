"""An app builder's tasks: Starlette on uvicorn. Streams are the gateway's, in the place of the app's own
broker: the app publishes, and what it publishes to never fails and never waits for a reader."""

import itertools
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

APPS = Path(__file__).parent.parent
TIDEGATE_URL = os.environ.get("TIDEGATE_URL", "http://127.0.0.1:8081")

log = logging.getLogger("uvicorn.error")
tasks: dict[str, dict] = {}
numbers = itertools.count(1)


class Events:
    """The app's events, as its own broker had them."""

    def __init__(self) -> None:
        self._gateway = httpx.AsyncClient(base_url=TIDEGATE_URL, timeout=1, trust_env=False)
        self.slowest_ms = 0.0

    async def publish(self, name: str, data: object = None) -> None:
        """Never raises: pages fetch what they have missed."""
        event = {"topic": name, "event": name}
        if data is not None:
            event["data"] = data
        began = time.monotonic()
        try:
            answer = await self._gateway.post("/publish", json=event)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            log.warning("%s was not published: %s", name, error)
        self.slowest_ms = max(self.slowest_ms, 1000 * (time.monotonic() - began))

    async def close(self) -> None:
        await self._gateway.aclose()


events = Events()


async def all_tasks(request: Request) -> Response:
    if request.method == "POST":
        task = {"id": f"t-{next(numbers)}", "status": "created", **await request.json()}
        tasks[task["id"]] = task
        await events.publish("task.created", task)
        return JSONResponse(task, 201)
    return JSONResponse(list(tasks.values()))


async def one_task(request: Request) -> Response:
    task = tasks[request.path_params["id"]]
    task.update(await request.json())
    await events.publish("task.status", {"id": task["id"], "status": task["status"]})
    return JSONResponse(task)


async def trigger(request: Request) -> Response:
    """Kinds of events that came later: nothing but this was added for them."""
    await events.publish("trigger.fired", {"trigger": request.path_params["name"]})
    return Response(status_code=204)


async def memory(request: Request) -> Response:
    await events.publish("memory.changed")
    return Response(status_code=204)


async def slowest(request: Request) -> Response:
    """How long publishing took at most since the last time, in milliseconds."""
    slowest_ms, events.slowest_ms = events.slowest_ms, 0.0
    return JSONResponse(slowest_ms)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    await events.close()


app = Starlette(
    routes=[
        Route("/api/tasks", all_tasks, methods=["GET", "POST"]),
        Route("/api/tasks/{id}", one_task, methods=["PATCH"]),
        Route("/api/triggers/{name}", trigger, methods=["POST"]),
        Route("/api/memory", memory, methods=["POST"]),
        Route("/api/slowest-publish", slowest),
        Mount("/live", StaticFiles(directory=APPS / "live")),
        Mount("/", StaticFiles(directory=APPS / "task_events", html=True)),
    ],
    lifespan=lifespan,
)
