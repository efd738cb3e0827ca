"""Takes requests apart, has them done, and says in plain JSON what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from pen_controller.clinic.accounts import AccountError, Role
from pen_controller.clinic.acts import ACTS, Entry, may
from pen_controller.clinic.desk import NotNowError
from pen_controller.clinic.jobs import BusyError
from pen_controller.clinic.laptop import ForbiddenError, Laptop, Request, who
from pen_controller.clinic.live import VERSION
from pen_controller.clinic.login import LoginError, cookie_of
from pen_controller.clinic.people import NOBODY
from pen_controller.clinic.throttle import ThrottledError
from pen_controller.config import Config, ConfigError
from pen_controller.config.texts import languages, texts
from pen_controller.errors import PenError
from pen_controller.journal import JournalError
from pen_controller.journal.record import NAME
from pen_controller.limits import Refusal
from pen_controller.pen import LimitError
from pen_controller.preparation.answers import AGE_BANDS, ANSWERS, ENDPOINTS, AnswerError
from pen_controller.preparation.udi import UdiError
from pen_controller.report.reading import LAPTOP
from pen_controller.treatment import recovery
from pen_controller.treatment.outcomes import RefusedError
from pen_controller.treatment.recovery import ALL

REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
"""A report is one file with its own style, and runs nothing."""

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (ThrottledError, 429),
    (LoginError, 401),
    (ForbiddenError, 403),
    (NotNowError, 409),
    (BusyError, 409),
    (PenError, 409),
    (JournalError, 503),
    (AnswerError, 400),
    (AccountError, 400),
    (UdiError, 400),
    (ConfigError, 400),
    (ValueError, 400),
    (OSError, 503),
)

Answers = Callable[[HttpRequest], Awaitable[Response]]
NOT_YOURS = "your account may not do that"
_OF_OTHERS = ("missing.", "caution.", "report.")
_OF_REPORT = (
    *("report.cause.", "report.yes", "report.no", "report.right_side", "report.left_side"),
    *("report.corrected", "report.taken_back", "report.event.note", "report.event.override", "report.event.aftercare"),
)
"""Of texts that are not made for the page, those that it shows too."""


def error(status: int, text: str, refusal: Refusal | None = None, field: str | None = None) -> JSONResponse:
    """Say why not."""
    limit = refusal and asdict(refusal.limit) | {"asked": refusal.asked}
    return JSONResponse({"error": {"text": text, "limit": limit, "field": field}}, status)


def no_such(_: HttpRequest, failed: Exception) -> JSONResponse:
    """Say that there is nothing of that kind at an address, in the shape of every refusal."""
    if not isinstance(failed, HTTPException):
        raise failed
    answer = error(failed.status_code, failed.detail)
    answer.headers.update(failed.headers or {})
    return answer


def routes(laptop: Laptop) -> list[BaseRoute]:
    """All routes but those of files."""
    own = Routes(laptop)
    looks: dict[str, Answers] = {
        "/api/setup": own.setup,
        "/api/accounts": own.accounts,
        "/api/state": own.state,
        "/api/config": own.config,
        "/api/face": own.face,
        "/api/plans": own.plans,
        "/api/treatments": own.treatments,
        "/api/answers": own.answers,
        "/api/texts/{language}": own.texts,
        "/report/{name}": own.report,
    }
    return [
        Route("/launch", own.launch, methods=["GET"]),
        Route("/api/stop", own.stop, methods=["POST"]),
        *(Route(entry.path, own.act(entry), methods=["POST"]) for entry in ACTS),
        *(Route(path, answer, methods=["GET"]) for path, answer in looks.items()),
    ]


class Routes:
    """The answers."""

    def __init__(self, laptop: Laptop) -> None:
        self._laptop = laptop

    # --- what has something done -------------------------------------------------------------------------------------

    async def stop(self, request: HttpRequest) -> Response:
        """STOP, by anybody, whatever the body says. By WebSocket it is quicker."""
        self._laptop.desk.stop(request.state.screen.account or NOBODY)
        return JSONResponse({"ok": True, "phase": "handled"})

    def act(self, entry: Entry) -> Answers:
        """Answers requests for one act."""

        async def answer(http: HttpRequest) -> Response:
            screen = http.state.screen
            request = Request(self._laptop, screen, who(screen))
            if not may(request, entry.needs):
                return error(403, NOT_YOURS) if request.who else error(401, "log in first")
            try:
                asked = entry.body.model_validate_json(await http.body())
                done = await entry.act(request, asked)
            except ValidationError as wrong:
                first = wrong.errors()[0]
                field = ".".join(map(str, first["loc"])) or None
                return error(400, ": ".join(filter(None, (field, first["msg"]))), field=field)
            except (RefusedError, LimitError) as refused:
                return error(422, str(refused), refused.refusal)
            except Exception as failed:
                for kind, status in _STATUS:
                    if isinstance(failed, kind):
                        return error(status, str(failed))
                raise
            response = JSONResponse({"ok": True, **done})
            for cookie in request.cookies:
                response.headers.append("set-cookie", cookie)
            return response

        return answer

    async def launch(self, request: HttpRequest) -> Response:
        """Take the launch token for a cookie, once."""
        cookie = self._laptop.keys.let_in(request.query_params.get("token", "")) if request.method == "GET" else None
        if cookie is None:
            return error(401, "this address worked once, or is too old: start pen app again for another")
        await self._laptop.log("launch", {})
        return RedirectResponse("/", 303, {"set-cookie": cookie_of(cookie)})

    # --- what is only looked at --------------------------------------------------------------------------------------

    async def setup(self, _: HttpRequest) -> Response:
        """Whether anybody can log in yet."""
        set_up = bool(self._laptop.accounts)
        return JSONResponse({"accounts": set_up, "languages": dict(languages()), "version": VERSION})

    async def accounts(self, request: HttpRequest) -> Response:
        """Who works here, for clinicians."""
        asks = who(request.state.screen)
        if asks is None or asks.role is not Role.CLINICIAN:
            return error(403, NOT_YOURS) if asks else error(401, "log in first")
        found = [{"account": one.name, "role": one.role} for one in self._laptop.accounts.all()]
        return JSONResponse({"accounts": found})

    async def state(self, request: HttpRequest) -> Response:
        """A snapshot."""
        return Response(self._laptop.lives.snapshot(request.state.screen), media_type="application/json")

    async def config(self, _: HttpRequest) -> Response:
        """What can be chosen."""
        return JSONResponse(choices(self._laptop.desk.config) | {"practice": self._laptop.practise is not None})

    async def face(self, _: HttpRequest) -> Response:
        """The shapes of the face."""
        shapes = files("pen_controller") / "dashboard" / "static" / "face.json"
        return Response(shapes.read_bytes(), media_type="application/json")

    async def texts(self, request: HttpRequest) -> Response:
        """The texts of the page in a language."""
        language = request.path_params["language"]
        if language not in languages():
            return error(404, f"no texts in that language: {', '.join(languages())}")
        return JSONResponse(texts_of_page(language))

    async def plans(self, request: HttpRequest) -> Response:
        """Names of the templates."""
        if who(request.state.screen) is None:
            return error(401, "log in first")
        return JSONResponse({"plans": await asyncio.to_thread(self._laptop.templates.names)})

    async def treatments(self, request: HttpRequest) -> Response:
        """The treatments on the record, the newest first; an engineer's are those of practice."""
        asks = who(request.state.screen)
        if asks is None:
            return error(401, "log in first")
        found = await asyncio.to_thread(self._treatments)
        readable = await self._laptop.readable(asks, *(one["session"] for one in found))
        return JSONResponse({"treatments": [one for one in found if one["session"] in readable]})

    def _treatments(self) -> list[dict[str, Any]]:
        journal = self._laptop.journal
        sessions = [one for one in journal.sessions() if one.session != LAPTOP]
        unended = {recovery.unended(journal, pen) for pen in {one.pen for one in sessions}}
        return [one._asdict() | {"unended": one.session in unended} for one in reversed(sessions)]

    async def answers(self, request: HttpRequest) -> Response:
        """What persons have entered in the treatment under way, or ended last, with the numbers to correct it by."""
        desk, asks = self._laptop.desk, who(request.state.screen)
        session = desk.treatment.session if desk.treatment else desk.ended
        if asks is None or session is None:
            return error(401, "log in first") if asks is None else error(409, "no treatment is under way")
        if not await self._laptop.readable(asks, session):
            return error(403, NOT_YOURS)
        records = await asyncio.to_thread(self._laptop.journal.read, session, limit=ALL)
        return JSONResponse(
            {"answers": [{"seq": one.seq, "kind": one.kind, "wall": one.wall, "body": one.body}
                         for one in records if one.kind in ANSWERS]}
        )  # fmt: skip

    async def report(self, request: HttpRequest) -> Response:
        """A report that was made."""
        asks = who(request.state.screen)
        if asks is None:
            return error(401, "log in first")
        name = Path(request.path_params["name"])
        path = self._laptop.jobs.folder / name.name
        if name.suffix not in (".html", ".pdf") or not NAME.fullmatch(name.stem) or not path.is_file():
            return error(404, "no such report: have it made first")
        if not await self._laptop.readable(asks, name.stem):
            return error(403, NOT_YOURS)
        headers = {"Cache-Control": "no-store"}
        if name.suffix == ".html":
            headers["Content-Security-Policy"] = REPORT_POLICY
        return FileResponse(path, headers=headers)


def texts_of_page(language: str) -> dict[str, str]:
    """The texts that a page may show; those that the service or a report says itself are left out."""
    found = texts(language).items()
    return {key: text for key, text in found if not key.startswith(_OF_OTHERS) or key.startswith(_OF_REPORT)}


def choices(config: Config) -> dict[str, Any]:
    """The configuration, as far as a person chooses from it; words are in the catalogue where a model has none."""

    def table(entries: Mapping[str, BaseModel] | Mapping[int, BaseModel], *unseen: str) -> dict[str, Any]:
        return {str(name): entry.model_dump(mode="json", exclude=set(unseen)) for name, entry in entries.items()}

    return {
        "areas": table(config.areas, "code", "coverage", "technique"),
        "indications": table(config.indications),
        "skin": table(config.skin),
        "screening": table(config.screening),
        "checklist": table(config.checklist),
        "aftercare": table(config.aftercare),
        "age_bands": list(AGE_BANDS),
        "endpoints": list(ENDPOINTS),
    }
