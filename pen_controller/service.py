"""Holds the rooms together for one treatment: journal, broker, publisher, pen."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from pen_controller.config import Config
from pen_controller.journal import Journal
from pen_controller.meanwhile import meanwhile
from pen_controller.pen import Pen
from pen_controller.preparation import Preparation
from pen_controller.report.verifying import must_hold
from pen_controller.telemetry.broker import WEBSOCKET_PORT, BrokerError, EmbeddedBroker
from pen_controller.telemetry.home_assistant import discovery, discovery_topic
from pen_controller.telemetry.messages import AreaSoFar, Coverage, LivePayload, MetaPayload, StatePayload
from pen_controller.telemetry.mqtt import DEFAULT_PORT, broker_url
from pen_controller.telemetry.publisher import Publisher
from pen_controller.treatment import Treatment, recovery
from pen_controller.treatment.counts import AreaCount, Live
from protocols.words import Capability, PenState, SampleFlag

STATE_EVERY_S = 0.1
STATE_AGAIN_S = 5.0
"""The state is told again though it has not changed, so that who looks on knows that we are there."""
TROUBLE_EVERY_S = 1.0
DRAIN_S = 10.0
"""How long the end waits for the broker; what it has not taken by then waits in the journal for the next run."""


@dataclass(slots=True)
class Service:
    """What a treatment needs, open and joined.

    `all_published` tells, when the service has ended, whether the broker has acknowledged every record; None where
    nothing was to be published. `trouble` is why nothing goes out now, or has not at the end, if that is known.
    """

    pen: Pen
    journal: Journal
    treatment: Treatment
    all_published: bool | None = None
    trouble: str | None = None


@contextlib.asynccontextmanager
async def broker_for(url: str | None, say: Callable[[str], None]) -> AsyncIterator[str]:
    """Yield the broker's address: the one named, or that of an embedded broker started here.

    The embedded one listens where `pen watch` and `pen dashboard` look by default, or on free ports where those are
    taken.

    Args:
        url: of the broker, if there is one, or the path of a broker file: see `mqtt.broker_url`.
        say: told, a line at a time, how to look at what is published.

    Raises:
        ValueError: the address is none, or a file that it names cannot be used.
        ImportError: the embedded broker is not installed; the message says how.
        BrokerError: it does not start.
    """
    if url is not None:
        broker_url(url)
        say(f"Telemetry: pen watch --broker {url}")
        yield url
        return
    async with contextlib.AsyncExitStack() as stack:
        try:
            wanted = EmbeddedBroker(port=DEFAULT_PORT, websocket_port=WEBSOCKET_PORT)
            broker = await stack.enter_async_context(wanted)
        except BrokerError:
            broker = await stack.enter_async_context(EmbeddedBroker())
        say(f"Telemetry: pen watch --broker {broker.url}")
        say(f"           pen dashboard --broker-ws {broker.websocket_url}")
        yield broker.url


@contextlib.asynccontextmanager
async def treatment_service(
    pen_url: str,
    journal_path: Path,
    config: Config,
    *,
    broker: str | None,
    indication: str = "",
    fitzpatrick: int = 0,
    preparation: Preparation | None = None,
    resume: str | None = None,
    leave_unended: bool = False,
    home_assistant: bool | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Service]:
    """Open pen, journal and publisher, and begin a treatment, or take one up that was never ended.

    On leaving the needles are stopped and the record is closed, whatever the reason.

    Args:
        pen_url: see `Pen.open`.
        journal_path: SQLite file of the record.
        config: the clinic's configuration.
        broker: where to publish; None does not publish.
        indication: a key of the configuration's indications; left out, it is the case's.
        fitzpatrick: skin type, 1 to 6; left out, it is the case's.
        preparation: what was answered already; see `Treatment`. A treatment taken up has its own.
        resume: the session to take up.
        leave_unended: begin another treatment, though the pen's last one was never ended.
        home_assistant: tell Home Assistant of the pen, or, if False, take it out again; None leaves that as it is.
        say: told, a line at a time, when nothing goes out any more, and when it does again.

    Raises:
        ValueError: the treatment to take up is another's: another pen's, indication's or skin type's, or was ended; or
            the pen's last one was never ended, and nobody said what is to become of it.
        LinkError, PenRefusedError: the pen cannot be had.
        JournalError: the record cannot be written, or that of the treatment to take up is not as it was written.
    """
    async with contextlib.AsyncExitStack() as stack:
        journal = await stack.enter_async_context(Journal.open(journal_path))
        pen = await stack.enter_async_context(Pen.open(pen_url))
        unended = recovery.unended(journal, pen.identity.serial)
        if resume is None and unended and not leave_unended:
            raise ValueError(f"treatment {unended} was never ended: --resume {unended} takes it up, --new leaves it")
        if resume is None:
            treatment = Treatment(pen, journal, config, indication, fitzpatrick, preparation=preparation)
        else:
            await asyncio.to_thread(must_hold, journal_path, resume)
            treatment = Treatment.restore(pen, journal, config, resume)
            intake = treatment.intake
            if indication and (intake.indication, intake.fitzpatrick) != (indication, fitzpatrick):
                raise ValueError(f"{resume} has another indication or skin type: give the plan it was begun with")
        service = Service(pen, journal, treatment)
        if broker is not None:
            await stack.enter_async_context(publishing(service, broker, say, home_assistant=home_assistant))
        await stack.enter_async_context(treatment)
        yield service


@contextlib.asynccontextmanager
async def publishing(
    service: Service, broker: str, say: Callable[[str], None], *, home_assistant: bool | None = None
) -> AsyncIterator[None]:
    """Publish the treatment's records, who the pen is, its state and what it does now; send the rest on leaving."""
    pen, treatment = service.pen, service.treatment
    site = treatment.config.clinic.site
    async with Publisher(service.journal, broker, site, pen.identity.serial) as publisher:
        try:
            meta = await _meta(pen)
            publisher.meta(meta)
            if home_assistant is not None:
                publisher.announce(discovery_topic(meta.pen), discovery(site, meta) if home_assistant else b"")
            async with _telling(service, publisher, say):
                yield
        finally:
            service.all_published = await publisher.drained(DRAIN_S)
            service.trouble = publisher.trouble


@contextlib.asynccontextmanager
async def _telling(service: Service, publisher: Publisher, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Offer the publisher what is not a record: the pen's state, and what it does now; say how it fares."""
    pen, treatment = service.pen, service.treatment
    treatment.watchers.append(lambda live: publisher.live(_live(pen, treatment, live)))
    async with (
        meanwhile(_tell_state(pen, treatment, publisher), "tell the pen's state"),
        meanwhile(_tell_trouble(service, publisher, say), "tell how telemetry fares"),
    ):
        yield


async def _tell_state(pen: Pen, treatment: Treatment, publisher: Publisher) -> None:
    before: tuple[object, ...] = ()
    loop, told_s = asyncio.get_running_loop(), 0.0
    codes = {area.code: name for name, area in treatment.config.areas.items()}
    while True:
        state, counts = pen.state, treatment.areas.values()
        now = (pen.connected, state.state, state.cause, state.area, *((one.passes, one.closed) for one in counts))
        if now != before or loop.time() - told_s >= STATE_AGAIN_S:
            before, told_s = now, loop.time()
            publisher.state(
                StatePayload(
                    pen=pen.identity.serial,
                    session=treatment.session,
                    pen_t_us=state.t_us,
                    state=state.state.name.lower() if pen.connected else "link_lost",
                    latch=state.cause.name.lower() if state.state is PenState.LATCHED else None,
                    area=codes.get(state.area),
                    areas=[_so_far(count) for count in counts],
                    valid=pen.connected,
                )
            )
        await asyncio.sleep(STATE_EVERY_S)


async def _tell_trouble(service: Service, publisher: Publisher, say: Callable[[str], None]) -> None:
    while True:
        trouble = publisher.trouble
        if trouble != service.trouble:
            service.trouble = trouble
            say(f"Telemetry waits in the journal: {trouble}" if trouble else "Telemetry goes out again.")
        await asyncio.sleep(TROUBLE_EVERY_S)


def _so_far(count: AreaCount) -> AreaSoFar:
    return AreaSoFar(
        area=count.area,
        passes=count.passes,
        density_per_cm2=round(count.density_per_cm2, 1),
        closed=count.closed.name if count.closed else None,
    )


async def _meta(pen: Pen) -> MetaPayload:
    identity = pen.identity
    cartridge = await pen.cartridge()
    return MetaPayload(
        pen=identity.serial,
        serial=identity.serial,
        udi=identity.udi,
        firmware=identity.firmware,
        boot_id=identity.boot_id,
        needles=cartridge.needles,
        sensors=[one.name.lower() for one in Capability if one in identity.capabilities and one.name],
        min_depth_um=identity.min_depth_um,
        max_depth_um=identity.max_depth_um,
        min_rate_dhz=identity.min_rate_dhz,
        max_rate_dhz=identity.max_rate_dhz,
        max_force_mn=identity.max_force_mn,
    )


def _live(pen: Pen, treatment: Treatment, live: Live) -> LivePayload:
    flags = SampleFlag(int(live.sample["flags"]))
    count = live.area
    return LivePayload(
        pen=pen.identity.serial,
        session=treatment.session,
        pen_t_us=int(live.sample["t_us"]),
        area=count.area,
        depth_um=int(live.sample["depth_um"]) if SampleFlag.DEPTH_VALID in flags else None,
        rate_dhz=int(live.sample["rate_dhz"]),
        force_mn=int(live.sample["force_mn"]) if SampleFlag.FORCE_VALID in flags else None,
        passes=count.passes,
        coverage=count.figures.coverage and Coverage(**count.figures.coverage._asdict()),
        punctures=count.punctures,
        density_per_cm2=round(count.density_per_cm2, 1),
        how=count.figures.how,
        advice=live.alert.advice if live.alert else None,
        battery_pct=pen.state.battery_pct,
    )
