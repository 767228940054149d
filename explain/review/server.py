"""The page's server: on 127.0.0.1 alone, for who has the address with its token; nothing is kept of what is sent.

Against pages of other origins: the Host header must be ours (no rebinding of names), a request must bring the token,
which no other page knows, and the page may load nothing but itself.
"""

import asyncio
import hashlib
import hmac
import secrets
import socket
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from explain.review.reviewer import Reviewer, UnknownKindError
from explain.review.study import ANSWERS, ReaderStudy
from medimg.atomic import finite
from medimg.errors import InputError
from medimg.style.pages import template
from medimg.untrusted.json_file import parse_json
from medimg.untrusted.printable import printable

TOKEN = "x-medimg-token"
_SECONDS = 60  # that a file may take to arrive
_MOST_ANSWERS = 10_000  # that readers may still agree or disagree with
_MOST_WAITING, _MOST_HELD = 200, 8  # requests; files in memory
_MOST_JSON = 4096  # bytes
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RefusedAnswerError(Exception):
    """A request that is not served.

    Args:
        status: of HTTP, 4xx.
        reason: a line.
    """

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


class ReviewSite:
    """The requests of one page.

    Args:
        reviewer: what answers.
        hosts: that the page may be asked for as.
        token: that each request must bring.
        study: takes what readers say; None: nothing is asked of them.
    """

    def __init__(self, reviewer: Reviewer, hosts: tuple[str, ...], token: str, study: ReaderStudy | None = None):
        self.reviewer, self.hosts, self.token, self.study = reviewer, hosts, token, study
        # Models and decoders take one file at a time; readers wait for their turn, not for memory.
        self._turn, self._waiting = ThreadPoolExecutor(1, "review"), 0
        self._slots = asyncio.Semaphore(_MOST_HELD)
        self._answers: OrderedDict[str, dict] = OrderedDict()
        self._lock = threading.Lock()

    def app(self) -> Starlette:
        """For a server of ASGI."""
        routes = [
            Route("/", self._served(self.page), methods=["GET"]),
            Route("/answer", self._served(self.answer), methods=["POST"]),
            Route("/reading", self._served(self.reading), methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_found})

    def _served(self, respond):
        async def checked(request: Request) -> Response:
            try:
                self._require_ours(request)
                response = await respond(request)
            except RefusedAnswerError as refused:
                response = JSONResponse({"error": str(refused)}, refused.status)
            except ClientDisconnect:
                response = Response(status_code=400)
            for name, value in _HEADERS.items():
                response.headers[name] = value
            response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
            return response

        return checked

    def _require_ours(self, request: Request) -> None:
        if request.headers.get("host", "").lower() not in self.hosts:
            raise RefusedAnswerError(421, "asked for by another name than its own")
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() not in {f"http://{host}" for host in self.hosts}:
            raise RefusedAnswerError(403, "asked by another page")
        token = request.query_params.get("token") if request.method == "GET" else request.headers.get(TOKEN)
        if not hmac.compare_digest((token or "").encode("utf-8", "replace"), self.token.encode()):
            raise RefusedAnswerError(
                403, "the address lacks its token: use the whole address that 'medimg review' printed"
            )

    async def page(self, request: Request) -> Response:
        """The page itself, its script and style inside."""
        nonce = secrets.token_urlsafe(16)
        decision, run = self.reviewer.decision, self.reviewer.run
        text = template("review", "review.html", "explain").render(
            nonce=nonce,
            run=run.root.name,
            model=self.reviewer.description["name"],
            statement=decision.statement,
            study=self.study is not None,
            megabytes=self.reviewer.config.max_megabytes,
        )
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return Response(text, media_type="text/html", headers={"Content-Security-Policy": policy})

    async def answer(self, request: Request) -> Response:
        """What the Run says of the file that is the request's body; its name is in `x-medimg-name`."""
        name = printable(unquote(request.headers.get("x-medimg-name", "")), 200)
        frame = request.headers.get("x-medimg-frame", "0")
        if not (frame.isascii() and frame.isdecimal() and len(frame) < 8):
            raise RefusedAnswerError(400, "the frame is no number")
        if self._waiting >= _MOST_WAITING:
            raise RefusedAnswerError(429, "too many wait: ask again in a moment")
        self._waiting += 1
        try:
            # Those who wait have sent nothing yet: the files of all would fill the memory.
            async with self._slots:
                data = await _body(request, self.reviewer.config.max_megabytes * 1_000_000)
                if not data:
                    raise RefusedAnswerError(400, "the file is empty")
                loop = asyncio.get_running_loop()
                return JSONResponse(
                    finite(await loop.run_in_executor(self._turn, self._answer, name, data, int(frame)))
                )
        finally:
            self._waiting -= 1

    def _answer(self, name: str, data: bytes, frame: int) -> dict:
        try:
            answer = self.reviewer.answer(name, data, frame)
        except UnknownKindError as error:
            raise RefusedAnswerError(415, str(error)) from error
        except InputError as error:
            raise RefusedAnswerError(422, printable(error)) from error
        if self.study is None:
            return answer
        answer["reading"] = secrets.token_urlsafe(16)
        chances = {entry["name"]: entry for entry in answer["classes"]}
        leading = chances.get(answer["positive"]) or max(answer["classes"], key=lambda entry: entry["p"])
        row = {"file": name, "sha256": hashlib.sha256(data).hexdigest(), "frame": frame, "p": leading["p"]}
        row |= {
            "decision": answer["decision"],
            "threshold": "" if leading["threshold"] is None else leading["threshold"],
        }
        with self._lock:
            self._answers[answer["reading"]] = row
            while len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)
        return answer

    async def reading(self, request: Request) -> Response:
        """What a reader says of an answer, once: JSON with `reading`, `reader`, `answer` and `seconds`."""
        if self.study is None:
            raise RefusedAnswerError(404, "no reader study: start 'medimg review' with --reader-study")
        try:
            body = await _json(request)
            reader, answer, key = str(body["reader"]).strip(), body["answer"], str(body["reading"])
            seconds = round(float(body.get("seconds", 0)), 1)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise RefusedAnswerError(400, "not a reading: give reading, reader, answer and seconds") from error
        if answer not in ANSWERS or not 0 < len(reader) <= 100 or not 0 <= seconds < 1e6:
            raise RefusedAnswerError(400, "name the reader, and agree or disagree")
        with self._lock:
            shown = self._answers.pop(key, None)
        if shown is None:
            raise RefusedAnswerError(409, "this answer has been judged already, or is too old: drop the image again")
        row = {**shown, "reader": reader, "answer": answer, "seconds": seconds}
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.study.add, row)
        except InputError as error:
            with self._lock:
                self._answers[key] = shown
            return JSONResponse({"error": str(error)}, 507)
        return JSONResponse({"kept": answer})


async def _json(request: Request) -> dict:
    return parse_json(await _body(request, _MOST_JSON))


async def _body(request: Request, most: int) -> bytes:
    """The request's body, which is not read beyond the limit, nor waited for without end."""
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdecimal() and (len(length) > 15 or int(length) > most):
        raise RefusedAnswerError(413, f"larger than {most:,} bytes (--max-megabytes)")
    body = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise RefusedAnswerError(413, f"larger than {most:,} bytes (--max-megabytes)")
    except TimeoutError:
        raise RefusedAnswerError(408, f"did not arrive within {_SECONDS} s") from None
    return bytes(body)


async def _not_found(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "no such page"}, error.status_code, headers=_HEADERS)


def bound(port: int) -> socket.socket:
    """A socket on 127.0.0.1.

    Raises:
        InputError: the port is taken.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        # Who has the address before the server has begun waits.
        listening.listen(_MOST_WAITING)
    except OSError as error:
        raise InputError(f"--port {port}: can't be had ({error.strerror}); leave it out for any free one") from error
    return listening


def serve(reviewer: Reviewer, listening: socket.socket, token: str, study: ReaderStudy | None) -> None:
    """Serve until interrupted."""
    server(reviewer, listening, token, study).run(sockets=[listening])


def server(reviewer: Reviewer, listening: socket.socket, token: str, study: ReaderStudy | None):
    """The `uvicorn.Server` of a page at a socket."""
    import uvicorn

    from explain.review.connection import Connection

    port = listening.getsockname()[1]
    site = ReviewSite(reviewer, (f"127.0.0.1:{port}", f"localhost:{port}"), token, study)
    # No log of requests: the page's address has the token.
    settings = uvicorn.Config(
        site.app(), http=Connection, access_log=False, log_level="error", server_header=False, timeout_keep_alive=5,
        lifespan="off", limit_concurrency=2 * _MOST_WAITING, h11_max_incomplete_event_size=16_384,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    return uvicorn.Server(settings)
