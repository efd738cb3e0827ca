"""A request that is granted, and what is asked for otherwise: for the tests of limits."""

import math
from datetime import date
from typing import Any

from hypothesis import strategies as st

from pen_controller import config as configuration
from pen_controller.limits import CartridgeTag, Delivered, Envelope, Grant, Refusal, Request, authorize

SHIPPED = configuration.load()
OPEN_CLINIC = SHIPPED.clinic.model_copy(update={"areas": {}})
OPEN = SHIPPED.model_copy(update={"clinic": OPEN_CLINIC})  # no clinic narrows anything
TODAY = date(2026, 3, 1)
ENVELOPE = Envelope(0.0, 2.5, 20.0, 150.0, 5.0)
TAG = CartridgeTag(cartridge_id=7, needles=12, expires=TODAY, used_by=None)
CHEEK = Request("cheek", "wrinkles", 2, depth_mm=1.0, rate_hz=100.0, passes=2, size_cm2=6.0)


def ask(request: Request = CHEEK, **changed: Any) -> Grant | Refusal:
    given_else: dict[str, Any] = {
        "config": SHIPPED,
        "envelope": ENVELOPE,
        "pen_profile": "simulated",
        "cartridge": TAG,
        "treatment": 42,
        "today": TODAY,
        "delivered": Delivered(),
    }
    return authorize(request, **(given_else | changed))


def granted(answer: Grant | Refusal) -> Grant:
    assert isinstance(answer, Grant), answer
    return answer


def refused(answer: Grant | Refusal | None) -> Refusal:
    assert isinstance(answer, Refusal), answer
    assert answer.limit.name
    assert math.isfinite(answer.limit.value)
    assert answer.limit.unit or answer.limit.value == 0, "what permits nothing has no unit"
    assert answer.limit.source
    assert answer.message.endswith(f"({answer.limit.layer}: {answer.limit.source})")
    return answer


requests = st.builds(  # about one in five of what these draw is granted
    Request,
    area=st.sampled_from(sorted(SHIPPED.areas)),
    indication=st.sampled_from(sorted(SHIPPED.indications)),
    fitzpatrick=st.integers(1, 6),
    depth_mm=st.integers(1, 24).map(lambda step: step * 50 / 1000),
    rate_hz=st.floats(15.0, 110.0),
    passes=st.integers(1, 4),
    size_cm2=st.floats(0.05, 30.0),
)
envelopes = st.builds(
    Envelope, st.floats(0, 0.3), st.floats(0.3, 4.0), st.floats(0, 40), st.floats(60, 200), st.floats(0.1, 8)
)
