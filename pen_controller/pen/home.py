"""Waits until the pen's needles are in."""

import asyncio
import contextlib

from pen_controller.errors import LinkError
from pen_controller.pen.pen import Pen
from protocols.messages import is_newer
from protocols.samples import SampleArray
from protocols.words import SampleFlag

HOME_S = 1.0
"""How long to wait for a sample of needles that are in; the slowest pen has them home in a tenth of that."""


async def sample_at_home(pen: Pen) -> SampleArray:
    """A sample, shape (1,), of needles that are in: newer than the pen's word, from now on, that they are.

    Raises:
        LinkError: no such sample comes.
    """
    before, home_t_us = pen.state, None
    with contextlib.suppress(TimeoutError), contextlib.closing(pen.samples()) as samples:
        async with asyncio.timeout(HOME_S):
            async for batch in samples:
                state = pen.state
                if home_t_us is None and state is not before and state.stopped:
                    home_t_us = state.t_us
                runs = int(batch["flags"][-1]) & SampleFlag.RUNNING
                if home_t_us is not None and not runs and is_newer(int(batch["t_us"][-1]), home_t_us):
                    return batch[-1:]
    raise LinkError("the pen sends no sample that shows its needles in; switch it off and on again")
