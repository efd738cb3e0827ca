"""`pen-sim`: simulated pens on real lines."""

import asyncio
import contextlib
import json
import logging
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from simulator.pen import SimulatedPen
from simulator.ports import Bench, Line, PtyLine, TcpLine, has_pseudo_terminals
from simulator.profiles import PROFILES

app = typer.Typer(
    name="pen-sim",
    help="Simulated microneedling pens: the whole firmware, its motor, needle, skin and the hand that holds it, "
    "behind a real line. Ends on Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

LEAST_ZONE_CM2 = 0.5

Pens = Annotated[int, typer.Option(min=1, max=64, help="How many pens: PEN-0001, PEN-0002, ...")]
Seed = Annotated[int, typer.Option(help="Seed of sensor noise, hand and boot ids; the same seed, the same pens.")]
Rate = Annotated[int, typer.Option(min=1, max=1000, help="Telemetry samples a second.")]
Profile = Annotated[str, typer.Option(help=f"Which pen to be: {', '.join(PROFILES)}.")]
Defect = Annotated[
    str | None, typer.Option(help="What the pen does wrong, for a conformance kit to find; 'list' names all.")
]
Zone = Annotated[
    float, typer.Option("--zone-cm2", min=LEAST_ZONE_CM2, max=600, help="Skin that the simulated hand treats, in cm2.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of text.")]
Control = Annotated[
    bool,
    typer.Option(
        help="Read commands from standard input, a line each: 'unplug SECONDS', 'reboot', 'button', 'cartridge' "
        "(a fresh one), 'zone CM2' (that the hand treats), optionally "
        "followed by a serial number; end of input ends the program."
    ),
]


@app.command()
def serial(
    pens: Pens = 1,
    seed: Seed = 0,
    rate: Rate = 100,
    profile: Profile = "simulated",
    zone_cm2: Zone = 6.0,
    defect: Defect = None,
    link: Annotated[Path | None, typer.Option(help="Folder for links PEN-0001, ... to the pseudo-terminals.")] = None,
    as_json: AsJson = False,
    control: Control = False,
) -> None:
    """Serve each pen behind a pseudo-terminal of its own, and print its path.

    Try it: `pen-sim serial` in one terminal, then `pen info serial:///dev/pts/N` with the path it printed in another.
    """
    if not has_pseudo_terminals():
        _refuse("this system has no pseudo-terminals: use 'pen-sim tcp'")
    if link and not link.is_dir():
        _refuse(f"--link {link}: there is no such folder")

    def line(pen: SimulatedPen, clock: Callable[[], int], _: int) -> Line:
        return PtyLine(pen, clock, link / pen.serial if link else None)

    _serve(_pens(pens, seed, rate, profile, zone_cm2, defect), line, as_json=as_json, control=control)


@app.command()
def tcp(
    port: Annotated[int, typer.Option(min=0, max=65535, help="First port, one a pen; 0 finds free ones.")] = 0,
    pens: Pens = 1,
    seed: Seed = 0,
    rate: Rate = 100,
    profile: Profile = "simulated",
    zone_cm2: Zone = 6.0,
    defect: Defect = None,
    as_json: AsJson = False,
    control: Control = False,
) -> None:
    """Serve each pen behind a TCP port on the loopback interface, and print its URL.

    Try it: `pen-sim tcp --port 9000` in one terminal, then `pen info socket://127.0.0.1:9000` in another.
    """
    if port + pens > 65_536:
        _refuse(f"no {pens} ports from {port} on: the last port is 65535")

    def line(pen: SimulatedPen, clock: Callable[[], int], index: int) -> Line:
        return TcpLine(pen, clock, port and port + index)

    _serve(_pens(pens, seed, rate, profile, zone_cm2, defect), line, as_json=as_json, control=control)


@app.command()
def ble(
    hci: Annotated[
        str,
        typer.Option(
            help="Where hosts attach: tcp-server:HOST:PORT (port 0 finds a free one), or another transport of Bumble, "
            "such as vhci, which gives Linux itself a virtual adapter."
        ),
    ] = "tcp-server:127.0.0.1:9201",
    mtu: Annotated[int, typer.Option(min=23, max=517, help="Largest ATT MTU that the pens agree to.")] = 517,
    interval_ms: Annotated[float, typer.Option(min=0, max=4000, help="Connection interval; 0: none.")] = 0.0,
    missed: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of intervals in which nothing gets through.")
    ] = 0,
    pens: Pens = 1,
    seed: Seed = 0,
    rate: Rate = 100,
    profile: Profile = "simulated",
    zone_cm2: Zone = 6.0,
    defect: Defect = None,
    as_json: AsJson = False,
    control: Control = False,
) -> None:
    """Serve each pen as a Bluetooth LE peripheral, without a radio: hosts attach by HCI, and find the pens in the air.

    Try it: `pen-sim ble` in one terminal, then `pen info "ble:PEN-0001?hci=tcp-client:127.0.0.1:9201"` in another.
    """
    try:
        from simulator.air import Air  # noqa: PLC0415  # an extra, and slow to load
        from simulator.peripheral import BleLine  # noqa: PLC0415
    except ImportError:
        _refuse("Bluetooth pens need more packages: python -m pip install 'pen-controller[ble-sim]'")
    # It warns of each thing that a link that breaks is bound to bring.
    logging.getLogger("bumble").setLevel(logging.CRITICAL)
    air = Air(hci, interval_ms=interval_ms, missed=missed, seed=seed)

    def line(pen: SimulatedPen, clock: Callable[[], int], _: int) -> Line:
        return BleLine(pen, clock, air, mtu=mtu)

    _serve(_pens(pens, seed, rate, profile, zone_cm2, defect), line, air, as_json=as_json, control=control)


@app.command()
def replay(
    file: Annotated[
        Path | None, typer.Argument(help="A capture that 'pen record' has written; left out, a simulated treatment.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of a capture: TCP port; 0 finds a free one.")] = 0,
    as_pty: Annotated[bool, typer.Option("--pty", help="Of a capture: behind a pseudo-terminal, and no port.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Of a capture: without the pauses that were between.")] = False,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Which treatment: area, zone, hand and pen follow from it; 0, if left out."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Of a treatment: draw path, density and course of time into this file, such as out.png."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play what the pen says in a capture, or count a simulated treatment.

    A capture is played once, to the first host that comes. It answers nobody: what the host says is dropped, for the
    pen that could answer is not there. So it is for hosts that listen, as `pen record` does; what a capture holds is
    shown by `pen decode`. Behind TCP the line then ends, a pseudo-terminal stays silent until the host leaves.

    A treatment needs no line: its pen's samples are counted, and what was counted is held against the truth.

    Try it: `pen-sim replay a.pencap --port 9000`, then `pen record socket://127.0.0.1:9000 b.pencap --decode`; or
    `pen-sim replay --seed 7 --plot out.png`.
    """
    if file is None:
        if port or as_pty or fast:
            _refuse("--port, --pty and --fast are for a capture: name its file")
        _count(seed or 0, plot, as_json=as_json)
    else:
        if port and as_pty:
            _refuse("--port is for TCP, --pty for a pseudo-terminal: leave out one of them")
        if seed is not None or plot:
            _refuse("--seed and --plot are for a simulated treatment: leave out the file, or them")
        _play(file, port, as_pty=as_pty, fast=fast, as_json=as_json)


def _count(seed: int, plot: Path | None, *, as_json: bool) -> None:
    from simulator import replay as treatments  # noqa: PLC0415  # the only command that needs the controller

    seen = treatments.replay(seed)
    if plot:
        try:
            treatments.plot(seen, plot)
        except ImportError:
            _refuse("a picture needs one more package: python -m pip install 'pen-controller[plot]'")
        except (OSError, ValueError) as error:
            _refuse(f"cannot draw {plot}: {error}")
    if as_json:
        rows = {name: {"true": true, "counted": counted} for name, true, counted in seen.rows()}
        print(json.dumps(seen.about() | rows))
        return
    print(", ".join(f"{name} {value}" for name, value in seen.about().items()))
    print(f"{'':<16}{'true':>12}{'counted':>12}")
    for name, true, counted in seen.rows():
        print(f"{name:<16}{true:>12}{counted:>12}")


def _play(file: Path, port: int, *, as_pty: bool, fast: bool, as_json: bool) -> None:
    from simulator import playback as captures  # noqa: PLC0415  # only few play one

    if as_pty and not has_pseudo_terminals():
        _refuse("this system has no pseudo-terminals: leave out --pty")

    def announce(url: str) -> None:
        print(json.dumps({"url": url}) if as_json else f"{url}  try: pen record {shlex.quote(url)} FILE", flush=True)

    async def played() -> None:
        async with captures.pty_host(announce) if as_pty else captures.tcp_host(announce, port) as send:
            await captures.play(said, send, fast=fast)

    try:
        said, damage = captures.load(file)
        if damage:
            print(f"pen-sim: {file}: {damage}; what is before it is played", file=sys.stderr)
        asyncio.run(played())
    except KeyboardInterrupt:
        pass
    except ConnectionError:
        _refuse("the host left before the end")
    except (OSError, ValueError) as error:
        _refuse(f"cannot play {file}: {error}")


def _pens(count: int, seed: int, rate: int, profile: str, zone_cm2: float, defect: str | None) -> list[SimulatedPen]:
    if profile not in PROFILES:
        _refuse(f"no profile {profile!r}: choose one of {', '.join(PROFILES)}")
    make = _maker(defect) if defect else SimulatedPen
    return [make(profile, number, seed=seed, sample_rate_hz=rate, zone_cm2=zone_cm2) for number in range(1, count + 1)]


def _maker(defect: str) -> Callable[..., SimulatedPen]:
    from simulator.defects import DEFECTS, WrongPen  # noqa: PLC0415  # only few ask for one

    if defect == "list":
        for name, part in DEFECTS.items():
            print(f"{name:30} {part.__doc__}")
        raise typer.Exit
    if defect not in DEFECTS:
        _refuse(f"no defect {defect!r}: '--defect list' names all")
    return partial(WrongPen, defect)


def _refuse(why: str) -> NoReturn:
    print(f"pen-sim: {why}", file=sys.stderr)
    raise typer.Exit(2)


def _serve(
    pens: list[SimulatedPen],
    line: Callable[[SimulatedPen, Callable[[], int], int], Line],
    around: AbstractAsyncContextManager[object] | None = None,
    *,
    as_json: bool,
    control: bool,
) -> None:
    """Run pens on their lines until told to end; `around` is open meanwhile."""
    bench = Bench()
    bench.pens = [(pen, line(pen, bench.clock_us, index)) for index, pen in enumerate(pens)]
    try:
        asyncio.run(_run(bench, around or contextlib.nullcontext(), as_json=as_json, control=control))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        _refuse(f"cannot serve: {error}")


async def _run(bench: Bench, around: AbstractAsyncContextManager[object], *, as_json: bool, control: bool) -> None:
    running = asyncio.current_task()
    if running is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt by itself
                asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(contextlib.suppress(asyncio.CancelledError))
        await stack.enter_async_context(around)
        for pen, line in bench.pens:
            await line.plug()
            _announce(pen, line, as_json=as_json)
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.run())
            if control:
                lines = _input_lines(asyncio.get_running_loop())
                while (command := await lines.get()) is not None:
                    group.create_task(_obey(bench, command, as_json=as_json))
                raise asyncio.CancelledError  # the end of input ends all, as a signal does


def _announce(pen: SimulatedPen, line: Line, *, as_json: bool) -> None:
    for url in line.urls:
        if as_json:
            print(json.dumps({"serial": pen.serial, "url": url}), flush=True)
        else:
            print(f"{url.removeprefix('serial://')}  {pen.serial}  try: pen info {shlex.quote(url)}", flush=True)


def _input_lines(loop: asyncio.AbstractEventLoop) -> asyncio.Queue[str | None]:
    """Lines of standard input, None at its end. A thread reads, since not every system can wait for a console."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            for text in sys.stdin:
                loop.call_soon_threadsafe(lines.put_nowait, text)
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return lines


async def _obey(bench: Bench, command: str, *, as_json: bool) -> None:
    words = command.split()
    serials = [word for word in words[1:] if word.startswith("PEN-")]
    chosen = [(pen, line) for pen, line in bench.pens if not serials or pen.serial in serials]
    match [word for word in words if chosen and word not in serials]:
        case ["unplug", seconds] if seconds.replace(".", "", 1).isdigit():
            for _pen, line in chosen:
                await line.unplug()
            await asyncio.sleep(float(seconds))
            for pen, line in chosen:
                await line.plug()
                _announce(pen, line, as_json=as_json)
        case ["reboot"]:
            for pen, _line in chosen:
                pen.reboot(bench.clock_us())
            await asyncio.gather(*(line.restart() for _pen, line in chosen))
        case ["button" | "cartridge" as what]:
            for pen, _line in chosen:
                (pen.firmware.button if what == "button" else pen.change_cartridge)()
        case ["zone", cm2] if cm2.replace(".", "", 1).isdigit():
            for pen, _line in chosen:
                # A large one takes a second to draw, and the pen has to go on meanwhile.
                await asyncio.to_thread(pen.change_zone, max(float(cm2), LEAST_ZONE_CM2))
        case _:
            known = "'unplug SECONDS', 'reboot', 'button', 'cartridge' or 'zone CM2'"
            pens = ", ".join(pen.serial for pen, _ in bench.pens)
            print(f"pen-sim: cannot {command.strip()!r}: {known}, then {pens}, or none for all", file=sys.stderr)


def main() -> None:
    """Entry point of `pen-sim`."""
    app()


if __name__ == "__main__":
    main()
