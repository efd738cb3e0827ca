"""The attacks: what is sent, and the status that is to come back; 0 is no answer at all.

`{host}`, `{origin}`, `{clinician}` and the like are put in when an attack is made (`clinic_target.Target.words`). Most
of them ask for STOP: it needs no account and no body, so whatever gets through to it changes the record and the pen.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pen_controller.clinic.access import MOST_BODY_BYTES
from tests.clinic_target import AREA, request
from tests.prepared import CASE

Statuses = tuple[int, ...]
CHUNKED: dict[str, Any] = {"content_length": None, "transfer_encoding": "chunked"}


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. `half_close`: the connection's end is sent after it."""

    name: str
    sent: bytes
    statuses: Statuses
    half_close: bool = False


def _each(name: str, statuses: Statuses, requests: Sequence[bytes]) -> list[Attack]:
    return [Attack(f"{name} {number}", sent, statuses) for number, sent in enumerate(requests, 1)]


def _with(header: str, values: Sequence[str | None], statuses: Statuses, method: str = "POST") -> list[Attack]:
    """STOP, or for GET the state, with each of these values in one header."""
    path = "/api/stop" if method == "POST" else "/api/state"
    changed: list[dict[str, Any]] = [{header: value} for value in values]
    return [Attack(f"{method} {one}"[:60], request(method, path, **one), statuses) for one in changed]


def _json(path: str, body: Any, *statuses: int) -> Attack:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Attack(f"{path} {text[:40]!r}", request(path=path, body=text), statuses or (400,))


def chunk(data: bytes) -> bytes:
    """One chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


CONTENT_TYPES = (
    *(None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"),
    *("application/json; charset=utf-7", "application/json; charset=utf-16", "text/plain; application/json"),
    *("application/json, text/plain", "application/json\t;x", "application/jsonp", "application/csp-report"),
)
ORIGINS = (
    *(None, "", "null", "http://evil.example", "http://evil.example:{port}", "http://evil.example/{origin}"),
    *("{origin}.evil.example", "{origin}@evil.example", "{origin}/", "{origin} http://evil.example", "x{origin}"),
    *("http://sub.{host}", "https://{host}", "HTTP://{host}", "//{host}", "{host}", "http://127.0.0.1", "file://"),
    *("http://127.0.0.1:1", "http://localhost:{port}", "http://127.1:{port}", "http://0x7f000001:{port}"),
    *("http://[::ffff:127.0.0.1]:{port}", "http://127.0.0.1.:{port}", "http://0.0.0.0:{port}"),
)
HOSTS = (
    *("", "evil.example", "evil.example:{port}", "{host}.evil.example", "{host}@evil.example", "evil.example@{host}"),
    *("127.0.0.1", "127.0.0.1:1", "127.0.0.1.:{port}", "localhost:{port}", "LOCALHOST:{port}", "127.1:{port}"),
    *("2130706433:{port}", "0.0.0.0:{port}", "[::ffff:127.0.0.1]:{port}", "[0:0:0:0:0:0:0:1]:{port}", "{host}#x"),
    *("{host}, evil.example", "{origin}", "127.0.0.1:0{port}", "[::1%25lo]:{port}"),
)
COOKIES = (
    *(None, "", "pen_session=", "pen_session=forged", "pen_session={used}", "pen_session={planted}"),
    *("pen_session={expired}", "pen_session={left}", "pen_session={digest}", "other={clinician}"),
    *("PEN_SESSION={clinician}", "pen_session={clinician}x", "pen_session=x{clinician}", "pen_session = =;"),
    *("pen_session={clinician}; pen_session=forged", "$Version=1; pen_session=forged", "pen_session=\xe9\xff"),
    "pen_session=" + "A" * 8000,
)

CSRF = [
    *_with("content_type", CONTENT_TYPES, (415,)),
    *_with("origin", ORIGINS, (403,)),
    *_with("sec_fetch_site", ("cross-site", "same-site", "none", "same-origin, cross-site"), (403,)),
    Attack("Origin twice", request("POST", "/api/stop", "Origin: http://evil.example"), (400,)),
    Attack("Content-Type twice", request("POST", "/api/stop", "Content-Type: text/plain"), (400,)),
    Attack("only a Referer", request("POST", "/api/stop", "Referer: {origin}/", origin=None), (403,)),
    Attack("a form", request(body=b"stop=1", origin="null", content_type="application/x-www-form-urlencoded"), (403,)),
]

REBINDING = [
    *_with("host", HOSTS, (400, 403)),
    *_with("host", HOSTS, (400, 403), "GET"),
    Attack("no Host", request("GET", "/api/state", host=None), (400,)),
    Attack("Host twice", request("GET", "/api/state", "Host: evil.example"), (400,)),
    Attack("HTTP/1.0 without a Host", request("GET", "/api/state", version="HTTP/1.0", host=None), (403,)),
    Attack("absolute address of another", request("POST", "http://evil.example/api/stop", host="evil.example"), (403,)),
    Attack("absolute address, own Host", request("POST", "http://evil.example/api/stop"), (400, 404, 405)),
    Attack("forwarded Host", request("GET", "/api/state", "X-Forwarded-Host: {host}", host="evil.example"), (403,)),
    Attack("Host and Origin of another", request(host="evil.example", origin="http://evil.example"), (403,)),
]

COOKIE = [
    *_with("cookie", COOKIES, (400, 401)),
    *_with("cookie", COOKIES, (400, 401), "GET"),
    Attack("cookie in the address", request(path="/api/stop?pen_session={clinician}", cookie=None), (401,)),
    Attack("as a bearer", request("POST", "/api/stop", "Authorization: Bearer {clinician}", cookie=None), (401,)),
]

LAUNCH = _each(
    "launch",
    (400, 401, 403, 405, 415),
    [
        request("GET", "/launch?token={used}", cookie=None),
        request("GET", "/launch?token={used}", "Referer: {origin}/launch?token={used}"),
        request("GET", "/launch", "Referer: {origin}/launch?token={fresh}", cookie=None),
        request("GET", "/launch?token={late}", cookie=None),
        request("GET", "/launch", cookie=None),
        request("GET", "/launch?token=", cookie=None),
        request("GET", "/launch?token={fresh}%00", cookie=None),
        request("GET", "/launch?token={fresh}x", cookie=None),
        request("GET", "/launch?TOKEN={fresh}", cookie=None),
        request("GET", "/launch?token={fresh}", host="evil.example", cookie=None),
        request("HEAD", "/launch?token={fresh}", cookie=None),
        request("POST", "/launch?token={fresh}", cookie=None),
        request("POST", "/launch?token={fresh}", cookie=None, origin="http://evil.example"),
        request("GET", "/launch", "Authorization: Bearer {fresh}", cookie="token={fresh}"),
    ],
)

METHODS = [
    *(Attack(f"{method} for a write", request(method), (404, 405)) for method in ("GET", "HEAD", "PUT", "DELETE")),
    *(Attack(f"{method} for a write", request(method), (400, 405)) for method in ("PATCH", "TRACE", "post", "GE T")),
    Attack("CONNECT", request("CONNECT", "{host}", body=b""), (400, 404, 405)),
    Attack(
        "preflight",
        request(
            "OPTIONS", "/api/stop", "Access-Control-Request-Method: POST", origin="http://evil.example", cookie=None
        ),
        (403,),
    ),
    *_each(
        "another method by",
        (404, 405),
        [
            request("GET", "/api/stop", "X-HTTP-Method-Override: POST"),
            request("GET", "/api/stop", "X-HTTP-Method: POST", "X-Method-Override: POST"),
            request("GET", "/api/stop?_method=POST"),
        ],
    ),
    Attack("another address by", request("POST", "/", "X-Original-URL: /api/stop", "X-Rewrite-URL: /api/stop"), (405,)),
]

_INNER = request()
SMUGGLED = [
    Attack(
        "a request in a form",
        request(body=_INNER, content_type="text/plain", connection="keep-alive", content_length="4000"),
        (415,),
        half_close=True,
    ),
    Attack("length and chunks", request("POST", "/api/stop", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), (400,)),
    Attack("two lengths", request("POST", "/api/stop", "Content-Length: 0"), (400,)),
    Attack("length with a sign", request(content_length="+2"), (400,)),
    Attack("length below nothing", request(content_length="-1"), (400,)),
    Attack("length in hexadecimal", request(content_length="0x2"), (400,)),
    Attack("unknown transfer encoding", request(content_length=None, transfer_encoding="xchunked"), (400, 501)),
    Attack("chunks of no size", request(body=b"zz\r\n{}\r\n0\r\n\r\n", **CHUNKED), (0, 400)),
    Attack("space before a colon", request("POST", "/api/stop", "X-Y : 1"), (400,)),
    Attack("folded header", request("POST", "/api/stop", "X-Y: 1", " Origin: {origin}", origin=None), (400, 403)),
    Attack("carriage return in a value", request("POST", "/api/stop", "X-Y: 1\rZ: 2"), (400,)),
    Attack("NUL in a value", request(origin="{origin}\0"), (400, 403)),
    Attack("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200, (0, 400), half_close=True),
    Attack("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 403, 505), half_close=True),
    Attack("h2c", request("POST", "/api/stop", "Upgrade: h2c", connection="Upgrade, close", origin=None), (400, 403)),
]
OVERSIZED = [
    _json("/api/stop", b"{}" + b" " * MOST_BODY_BYTES, 413),
    _json("/api/stop", b" " * 1_000_000, 413),
    Attack("chunks without a length", request(body=chunk(b" " * 20_000) + b"0\r\n\r\n", **CHUNKED), (413,)),
    Attack("chunks without an end", request(body=chunk(b" " * 9000) * 30, **CHUNKED), (413,), half_close=True),
    Attack("more than its length", request(body=b"{}" + _INNER, content_length="2", origin="null"), (403,)),
    Attack("less than its length", request(body=b"{}", content_length="10"), (0, 400), half_close=True),
    Attack("chunks cut short", request(body=chunk(b"{}"), **CHUNKED), (0, 400), half_close=True),
    Attack("a head cut short", request()[:-30], (0, 400), half_close=True),
    Attack("a large header", request("POST", "/api/stop", "X-Y: " + "A" * 100_000), (0, 400, 431)),
    Attack("many headers", request("POST", "/api/stop", *["X-Y: 1"] * 20_000), (0, 400, 431)),
    Attack("a long address", request("POST", "/api/stop?" + "A" * 100_000), (0, 400, 414, 431)),
]


def _area(**changed: Any) -> dict[str, Any]:
    return {"areas": [AREA | changed]}


CORRECTED = {"of_seq": 3, "reason": "mistyped", "body": None}
MALFORMED = [
    *(_json("/api/end", body) for body in (b"", b"null", b"[]", b"1", b'"{}"', b"{", b"{}}", b"{} {}", b"{,}", b"\0")),
    *(_json("/api/end", body) for body in (b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b'{"\xff": 1}', b"{'a': 1}")),
    *(_json("/api/end", {name: 1}) for name in ("__proto__", "constructor", "by", "who", "role", "live")),
    _json("/api/end", {f"k{number}": 1 for number in range(1200)}),
    _json("/api/correction", b'{"of_seq":3,"reason":"x","body":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}"),
    _json("/api/correction", b'{"of_seq":3,"reason":"x","body":' + b'{"a":' * 1500 + b"1" + b"}" * 1500 + b"}"),
    *(_json("/api/correction", CORRECTED | {"of_seq": seq}) for seq in (0, -1, 10**30, 2**53, 1.5, "3", True)),
    _json("/api/correction", b'{"of_seq":' + b"9" * 9000 + b',"reason":"x","body":null}'),
    _json("/api/correction", CORRECTED | {"reason": " "}),
    _json("/api/correction", CORRECTED | {"by": "clinician-2"}),
    *(_json("/api/resume", {"latch_id": latch}) for latch in (-1, 65_536, 1e3, "0", None, [0], True)),
    *(_json("/api/plan", _area(depth_mm=depth)) for depth in (0, -1, 1e5, float("nan"), float("inf"), "1", None)),
    _json("/api/plan", b'{"areas":[{"area":"cheek","depth_mm":1e999,"rate_hz":60,"passes":1}]}'),
    *(_json("/api/plan", _area(area=area)) for area in ("", "eyelid", "../cheek", "__class__", "x" * 65, 8)),
    _json("/api/plan", _area(indication="no such")),
    _json("/api/plan", {"areas": [AREA] * 41}),
    _json("/api/plan", {"areas": []}),
    _json("/api/note", {"area": "cheek", "endpoint": "none", "reactions": ["x" * 301]}),
    _json("/api/note", {"area": "cheek", "endpoint": "none", "reactions": ["x"] * 41}),
    _json("/api/note", b'{"area":"cheek","endpoint":"none","reactions":["\\ud800"]}'),
    _json("/api/note", {"area": "cheek", "endpoint": "none", "reactions": [], "by": "engineer-1"}),
    _json("/api/screening", {"question": "no such", "answer": "no"}),
    _json("/api/screening", {"question": "open_skin", "answer": "maybe"}),
    _json("/api/screening", {"question": "open_skin", "answer": "no", "kind": "precaution"}),
    _json("/api/checked", {"step": "no such"}),
    _json("/api/cartridge", {"lot": "A1", "expiry": "2039-02-30", "needles": 12}),
    _json("/api/cartridge", {"lot": "A1", "expiry": "2039-06-30", "needles": 12, "tag": {"needles": 12}}),
    _json("/api/cartridge/scan", {"scan": "\x1d" * 200}),
    _json("/api/pen", {"url": "socket://evil.example:80"}, 409),
    _json("/api/pen", {"url": "file:///etc/passwd"}, 409),
    _json("/api/practice", {"happens": "reboot\nunplug 100"}),
    _json("/api/practice", {"happens": "reboot"}, 409),
    _json("/api/area/start", AREA | {"live": 10**12}, 409),
    _json("/api/area/start", AREA | {"live": 0}),
    _json("/api/area/change", {"depth_mm": 2.0, "rate_hz": 60.0}, 409),
]

CLIMBING = ("../accounts", "..", "../../etc/passwd", "..\\accounts", "/etc/passwd", "a/b", "kept/../kept", "C:kept")
NO_NAMES = (
    "",
    ".",
    "con",
    "nul",
    "kept.toml",
    "kept\0",
    "kept\n",
    "KEPT",
    "-x",
    "x" * 65,
    "~root",
    "$HOME",
    "k\u212aept",
)
PATHS = (
    *("/report/..%2faccounts.json", "/report/%2e%2e%2faccounts.json", "/report/..%252faccounts.json"),
    *("/report/..%5caccounts.json", "/report/%00.html", "/report/accounts.json", "/report/.html", "/report/x.html%00"),
    *(
        "/report/../accounts.json",
        "/../accounts.json",
        "/..%2faccounts.json",
        "/%2e%2e/%2e%2e/access.py",
        "/..;/access.py",
    ),
    *(
        "//etc/passwd",
        "/..%5c..%5caccess.py",
        "/%00",
        "/page.js%00.html",
        "/..%c0%af..%c0%afaccess.py",
        "/.%2e/access.py",
    ),
    *(
        "/api/texts/..%2f..%2fclinic.toml",
        "/api/texts/en%00",
        "/api/texts/xx",
        "/" + "a" * 5000,
        "/vendor/../../access.py",
    ),
    *(
        "/api/plans/..%2faccounts",
        "/journal.sqlite",
        "/accounts.json",
        "/static/app.js",
        "/%ff%fe",
        "/C:/Windows/win.ini",
    ),
)
TRAVERSAL = [
    *(Attack(f"GET {path}"[:60], request("GET", path), (404,)) for path in PATHS),
    *(_json("/api/plans", {"name": name}) for name in CLIMBING + NO_NAMES),
    *(_json("/api/plans/load", {"name": name}) for name in CLIMBING + NO_NAMES),
    *(_json("/api/report", {"session": name}) for name in (*CLIMBING, "", "a.b", "kept\n", "x" * 65)),
    *(_json("/api/treatments/resume", {"session": name}, 400, 409) for name in (*CLIMBING, "laptop", "x")),
    _json("/api/plans", {"name": "kept"}),
]

TABLES = {
    "csrf": CSRF,
    "rebinding": REBINDING,
    "cookie": COOKIE,
    "launch": LAUNCH,
    "methods": METHODS,
    "smuggled": SMUGGLED,
    "oversized": OVERSIZED,
    "malformed": MALFORMED,
    "traversal": TRAVERSAL,
}


# --- by WebSocket ----------------------------------------------------------------------------------------------------

STOP = '{"stop": 1}'


def frame(text: str | bytes = STOP, *, first: int = 0x81, masked: bool = True) -> bytes:
    """One frame of a WebSocket as a browser sends it, with a mask of zeros; up to 125 bytes, or up to 65535."""
    data = text.encode() if isinstance(text, str) else text
    mask = 0x80 if masked else 0
    size = bytes([mask | len(data)]) if len(data) < 126 else bytes([mask | 126]) + len(data).to_bytes(2, "big")
    return bytes([first]) + size + bytes(4 if masked else 0) + data


def upgrade(method: str = "GET", path: str = "/live", **changed: str | None) -> bytes:
    """The beginning of a WebSocket as our page makes it, or with some changed."""
    own: dict[str, Any] = {
        "origin": "{origin}",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec_websocket_version": "13",
        "sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    return request(method, path, body=b"", **own | changed)


UPGRADES = {
    **{f"origin={value}": upgrade(origin=value) + frame() for value in ORIGINS},
    **{f"host={value}": upgrade(host=value) + frame() for value in HOSTS},
    **{f"cookie={value}"[:60]: upgrade(cookie=value) + frame() for value in COOKIES},
    "sec-fetch-site": upgrade(sec_fetch_site="cross-site") + frame(),
    "post": upgrade("POST", origin="http://evil.example") + frame(),
    "another path": upgrade(path="/api/stop", origin="http://evil.example") + frame(),
    "old version": upgrade(sec_websocket_version="8", origin=None) + frame(),
    "a protocol as a key": upgrade(sec_websocket_protocol="pen_session.{clinician}", cookie=None) + frame(),
}
FRAMES = {
    "no mask": frame(masked=False),
    "reserved bit": frame(first=0xC1),
    "unknown opcode": frame(first=0x83),
    "binary": frame(first=0x82),
    "never finished": frame(first=0x01),
    "continues nothing": frame(first=0x80),
    "a close with the message in it": frame(STOP, first=0x88),
    "a ping with the message in it": frame(STOP, first=0x89),
    "not UTF-8": frame(b'{"stop": "\xff"}'),
    "cut short": frame()[:-1],
    "a length beyond all": b"\x81\xff" + b"\x7f" + b"\xff" * 7 + b"\0" * 4 + STOP.encode(),
    "one message too large in pieces": b"".join([frame(b'{"stop": 1' + b" " * 3000, first=0x01)]
                                                + [frame(b" " * 3000, first=0x00)] * 3 + [frame("}", first=0x80)]),
}  # fmt: skip
Messages = Sequence[str | bytes]
MESSAGES: dict[str, tuple[Messages, int | None]] = {
    "binary": ([STOP.encode()], 4400),
    "no JSON": (["stop"], 4400),
    "an array": (['["stop"]'], 4400),
    "a word": (['"stop"'], 4400),
    "nothing": ([""], 4400),
    "too deep": (["[" * 4000], 4400),
    "too large": (['{"stop": "' + "x" * 5000 + '"}'], 1009),
    "too many": (['{"alive": 1}'] * 150, 4429),
    "other keys": (['{"STOP": 1}', '{"stop ": 1}', '{"__proto__": {"stop": 1}}', '{"alive": {"stop": 1}}'], None),
    "no figures": (['{"alive": NaN}', '{"alive": 1e999}', '{"alive": ' + "9" * 3000 + "}", '{"hold": "true"}'], None),
    "a signature of another": (['{"operating": true, "account": "clinician-1", "live": 1}'], None),
}

# --- who may do what -------------------------------------------------------------------------------------------------

_NEW = '{"account": "intruder-1", "password": "a sentence of mine", "role": "clinician"}'
BODIES = {
    **dict.fromkeys(
        ("/api/logout", "/api/scan", "/api/pen/release", "/api/reconnect", "/api/aftercare", "/api/plan/offer"), "{}"
    ),
    **dict.fromkeys(("/api/area/finish", "/api/end"), "{}"),
    "/api/settings": '{"theme": "dark"}',
    "/api/accounts": _NEW,
    "/api/accounts/role": '{"account": "viewer-1", "role": "clinician"}',
    "/api/accounts/password": json.dumps(
        {"account": "clinician-1", "own": "a sentence that only the viewer knows", "password": "a sentence of mine"}
    ),
    "/api/pen": '{"url": "socket://127.0.0.1:1"}',
    "/api/resume": '{"latch_id": 0}',
    "/api/practice": '{"happens": "button"}',
    "/api/case": json.dumps(CASE | {"code": "C-0666"}),
    "/api/screening": '{"question": "open_skin", "answer": "no"}',
    "/api/checked": '{"step": "cleansed"}',
    "/api/cartridge": '{"lot": "B2", "expiry": "2039-06-30", "needles": 12}',
    "/api/cartridge/scan": '{"scan": "(01)09521234543213"}',
    "/api/note": '{"area": "cheek", "endpoint": "none", "reactions": []}',
    "/api/override": '{"what": "all of it", "reason": "no reason"}',
    "/api/correction": json.dumps(CORRECTED),
    "/api/plan": json.dumps(_area(depth_mm=0.5)),
    "/api/plan/limits": json.dumps(_area(depth_mm=0.5)),
    "/api/plans": '{"name": "another"}',
    "/api/plans/load": '{"name": "kept"}',
    "/api/area/start": json.dumps(AREA | {"live": 1}),
    "/api/area/change": '{"depth_mm": 2.0, "rate_hz": 60.0}',
    "/api/treatments/resume": '{"session": "x"}',
    "/api/report": '{"session": "x"}',
}
"""For every act what would have it done, or at least be understood."""
