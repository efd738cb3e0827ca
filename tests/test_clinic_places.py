"""Looking for pens: what goes wrong shows where pens would."""

import asyncio
from typing import Any

import pytest

from pen_controller.clinic import places
from pen_controller.clinic.places import Places
from tests.running import until


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("no such device"), "looking for pens broke off: no such device"),
        (ExceptionGroup("of tasks", [RuntimeError()]), "looking for pens broke off: RuntimeError"),
    ],
)
async def test_a_search_that_breaks_off_says_so(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_off(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(places, "scan", break_off)
    changes = list[int]()
    looking = Places(None, lambda: changes.append(1))
    looking.look()
    await until(lambda: not looking.scanning and changes, "the search's end")
    assert [one.short_trouble for one in looking.found.values()] == [said]
    assert not next(iter(looking.found.values())).is_place
    await looking.close()


async def test_a_search_that_is_called_off_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_on(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(places, "scan", look_on)
    looking = Places(None, lambda: None)
    looking.look()
    await asyncio.sleep(0)
    await looking.close()
    assert looking.found == {}
