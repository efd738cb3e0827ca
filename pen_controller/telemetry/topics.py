"""The topics of telemetry.

`pen/v1/{site}/{pen}/{kind}`, followed by the session where there is one; and
`ack/v1/{site}/{pen}/{session}/{recorder}`, on which a recorder says how far it has stored a session.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, Self, cast, get_args

from pen_controller.journal.record import NAME

Kind = Literal["status", "meta", "state", "pass", "event", "summary", "live"]

PREFIX = "pen/v1"
ACK_PREFIX = "ack/v1"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How messages of one kind travel."""

    qos: Literal[0, 1]
    retain: bool
    by_session: bool


DELIVERY: dict[Kind, Delivery] = {
    "status": Delivery(qos=1, retain=True, by_session=False),
    "meta": Delivery(qos=1, retain=True, by_session=False),
    "state": Delivery(qos=1, retain=True, by_session=False),
    "pass": Delivery(qos=1, retain=False, by_session=True),
    "event": Delivery(qos=1, retain=False, by_session=True),
    "summary": Delivery(qos=1, retain=False, by_session=True),
    "live": Delivery(qos=0, retain=False, by_session=False),
}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic taken apart; `str(topic)` puts it together, `Topic.parse` is its inverse.

    Raises:
        ValueError: A name has other signs than letters, digits, `_` and `-`, or a session is missing or too many.
    """

    site: str
    pen: str
    kind: Kind
    session: str | None = None

    def __post_init__(self) -> None:
        check_name("site", self.site)
        check_name("pen", self.pen)
        if self.kind not in DELIVERY:
            raise ValueError(f"topic kind {self.kind!r}: use one of {', '.join(get_args(Kind))}")
        if DELIVERY[self.kind].by_session:
            check_name("session", self.session or "")
        elif self.session is not None:
            raise ValueError(f"session {self.session!r}: {self.kind} is not sent by session")

    def __str__(self) -> str:
        end = f"/{self.session}" if self.session else ""
        return f"{PREFIX}/{self.site}/{self.pen}/{self.kind}{end}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a topic apart.

        Raises:
            ValueError: It is no topic of ours.
        """
        parts = text.removeprefix(f"{PREFIX}/").split("/")
        if not text.startswith(f"{PREFIX}/") or len(parts) not in (3, 4):
            raise ValueError(f"topic {text!r}: expected {PREFIX}/SITE/PEN/KIND[/SESSION]")
        site, pen, kind, *session = parts
        return cls(site, pen, cast("Kind", kind), *session)


@dataclass(frozen=True, slots=True)
class AckTopic:
    """The topic of a recorder's word on one session; `str(topic)` puts it together, `AckTopic.parse` is its inverse.

    Its payload is the highest sequence number up to which all of the session is stored, in decimal digits; an empty one
    dismisses the recorder. A recorder is named by its database: processes that share one speak with one voice.

    Raises:
        ValueError: A name has other signs than letters, digits, `_` and `-`.
    """

    site: str
    pen: str
    session: str
    recorder: str

    def __post_init__(self) -> None:
        for label in ("site", "pen", "session", "recorder"):
            check_name(label, getattr(self, label))

    def __str__(self) -> str:
        return f"{ACK_PREFIX}/{self.site}/{self.pen}/{self.session}/{self.recorder}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a topic apart.

        Raises:
            ValueError: It is no topic of a recorder's.
        """
        parts = text.removeprefix(f"{ACK_PREFIX}/").split("/")
        if not text.startswith(f"{ACK_PREFIX}/") or len(parts) != 4:
            raise ValueError(f"topic {text!r}: expected {ACK_PREFIX}/SITE/PEN/SESSION/RECORDER")
        return cls(*parts)


def check_name(label: str, name: str) -> str:
    """Return `name` if a topic can carry it.

    Raises:
        ValueError: It cannot; the message names `label` and the value.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{label} {name!r}: use 1 to 64 letters, digits, _ or -")
    return name


def subscription(site: str = "+", pen: str = "+", kind: str = "#") -> str:
    """Return the filter that matches the topics of a site, a pen and a kind; `+` and, for the kind, `#` stand for any.

    Raises:
        ValueError: One of them is neither that nor a name, or there is no such kind.
    """
    _check_wanted(site, pen)
    if kind != "#" and kind not in DELIVERY:
        raise ValueError(f"kind {kind!r}: use one of {', '.join(DELIVERY)}")
    end = "/+" if kind != "#" and DELIVERY[cast("Kind", kind)].by_session else ""
    return f"{PREFIX}/{site}/{pen}/{kind}{end}"


def subscriptions(sites: Sequence[str] = (), pens: Sequence[str] = (), kinds: Sequence[str] = ()) -> list[str]:
    """Return the filters that match what is of one of the sites, one of the pens and one of the kinds; none is all.

    Raises:
        ValueError: A site or a pen is no name, or there is no such kind.
    """
    wanted = product(sites or ["+"], pens or ["+"], kinds or ["#"])
    return list(dict.fromkeys(subscription(*each) for each in wanted))


def record_subscriptions(site: str = "+", *, group: str | None = None) -> list[str]:
    """Return the filters that match the records of all pens of a site; `+` stands for any site.

    Args:
        site: Name of the site.
        group: With a name, each record comes to only one of those who subscribe with the same name.

    Raises:
        ValueError: `site` is neither a name nor `+`, or `group` is no name.
    """
    shared = "" if group is None else f"$share/{check_name('group', group)}/"
    return [f"{shared}{subscription(site, kind=kind)}" for kind, how in DELIVERY.items() if how.by_session]


def ack_subscription(site: str = "+", pen: str = "+") -> str:
    """Return the filter that matches what recorders say of a pen's sessions; `+` stands for any.

    Raises:
        ValueError: `site` or `pen` is neither a name nor `+`.
    """
    _check_wanted(site, pen)
    return f"{ACK_PREFIX}/{site}/{pen}/+/+"


def _check_wanted(site: str, pen: str) -> None:
    for label, name in (("site", site), ("pen", pen)):
        if name != "+":
            check_name(label, name)
