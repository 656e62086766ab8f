"""An app as a Python team writes it: Starlette on uvicorn. What it serves is in ../README.md."""

import asyncio
import hashlib
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

PAGE = Path(__file__).parent.parent / "page"
UPLOADS = Path(os.environ["UPLOADS"])
UPLOAD_BYTES_MAX = 128 * 1024 * 1024
PART_BYTES = 256 * 1024

items: dict[int, dict] = {}
ids = itertools.count(1)
listeners: set[asyncio.Queue[str]] = set()


async def page(request: Request) -> Response:
    return FileResponse(PAGE / "index.html")


async def all_items(request: Request) -> Response:
    if request.method == "POST":
        item = {"id": next(ids), **await request.json()}
        items[item["id"]] = item
        return JSONResponse(item, 201, {"location": f"/api/items/{item['id']}"})
    wanted = set(request.query_params.getlist("tag"))
    return JSONResponse([item for item in items.values() if wanted <= set(item["tags"])])


async def one_item(request: Request) -> Response:
    id = request.path_params["id"]
    if id not in items:
        return JSONResponse({"error": "there is no such item"}, 404)
    if request.method == "PUT":
        items[id] = {"id": id, **await request.json()}
    if request.method == "DELETE":
        del items[id]
        return Response(status_code=204)
    return JSONResponse(items[id])


async def session(request: Request) -> Response:
    if request.method == "GET":
        return JSONResponse(request.cookies)
    response = Response(status_code=204)
    response.set_cookie("session", "s-1", httponly=True)
    response.set_cookie("theme", "dark", max_age=3600)
    return response


async def report(request: Request) -> Response:
    return JSONResponse([{"row": row, "text": "the same again"} for row in range(5000)])


async def form(request: Request) -> Response:
    seen = {}
    async with request.form() as fields:
        for name, value in fields.items():
            if isinstance(value, str):
                seen[name] = value
            else:
                content = await value.read()
                digest = hashlib.sha256(content).hexdigest()
                seen[name] = {"name": value.filename, "bytes": len(content), "sha256": digest}
    return JSONResponse(seen)


async def headers(request: Request) -> Response:
    return JSONResponse(request.headers.items())


async def slow(request: Request) -> Response:
    await asyncio.sleep(2)
    return JSONResponse({"slow": True})


async def go_relative(request: Request) -> Response:
    return RedirectResponse("../api/items", 302)


async def go_absolute(request: Request) -> Response:
    return RedirectResponse(request.url_for("items"), 307)


async def upload(request: Request) -> Response:
    if int(request.headers.get("content-length", 0)) > UPLOAD_BYTES_MAX:
        return JSONResponse({"error": "at most 128 MiB"}, 413)
    digest, size = hashlib.sha256(), 0
    with (UPLOADS / request.path_params["name"]).open("wb") as file:
        async for part in request.stream():
            digest.update(part)
            size += file.write(part)
    return JSONResponse({"bytes": size, "sha256": digest.hexdigest()})


async def download(request: Request) -> Response:
    path = UPLOADS / request.path_params["name"]
    if "stream" not in request.query_params:
        return FileResponse(path, media_type="application/octet-stream")

    async def parts() -> AsyncIterator[bytes]:
        with path.open("rb") as file:
            while part := file.read(PART_BYTES):
                yield part

    return StreamingResponse(parts(), media_type="application/octet-stream")


async def events(request: Request) -> Response:
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def stream() -> AsyncIterator[str]:
        listeners.add(queue)
        try:
            yield "retry: 500\n\n"
            for number in itertools.count(1):
                yield f"id: {number}\ndata: {await queue.get()}\n\n"
        finally:
            listeners.discard(queue)

    return StreamingResponse(stream(), media_type="text/event-stream")


async def send_event(request: Request) -> Response:
    text = (await request.body()).decode()
    for queue in listeners:
        queue.put_nowait(text)
    return Response(status_code=204)


async def count_listeners(request: Request) -> Response:
    return JSONResponse(len(listeners))


async def echo(socket: WebSocket) -> None:
    offered = socket.scope["subprotocols"]
    await socket.accept(subprotocol="echo" if "echo" in offered else None)
    while (message := await socket.receive())["type"] == "websocket.receive":
        text = message.get("text")
        if text is None:
            await socket.send_bytes(message["bytes"])
        elif text.startswith("close "):
            _, code, reason = text.split(" ", 2)
            await socket.close(int(code), reason)
            return
        else:
            await socket.send_text(text)


app = Starlette(
    routes=[
        Route("/", page),
        Mount("/static", StaticFiles(directory=PAGE)),
        Route("/api/items", all_items, methods=["GET", "POST"], name="items"),
        Route("/api/items/{id:int}", one_item, methods=["GET", "PUT", "DELETE"]),
        Route("/api/session", session, methods=["GET", "POST"]),
        Route("/api/report", report),
        Route("/api/form", form, methods=["POST"]),
        Route("/api/headers", headers),
        Route("/api/slow", slow),
        Route("/go/relative", go_relative),
        Route("/go/absolute", go_absolute),
        Route("/files/{name}", upload, methods=["PUT"]),
        Route("/files/{name}", download),
        Route("/app/events", events),
        Route("/app/events", send_event, methods=["POST"]),
        Route("/app/events/listeners", count_listeners),
        WebSocketRoute("/ws", echo),
    ],
    middleware=[Middleware(GZipMiddleware)],
)
