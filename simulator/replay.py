"""A treatment of `scenarios`, counted by the controller's pass counter and held against the truth, as table or picture.

The only place of the simulator that knows the controller.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pen_controller.passes import Figures, Glide, PassCounter, Zone
from protocols.messages import WRAP
from simulator.ground import GRID_MM, Floats, Grid
from simulator.hand import Motion
from simulator.scenarios import Scenario, scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

Value = int | float | None


@dataclass(frozen=True, slots=True)
class Replay:
    """What was counted of a treatment. Times are since it began, as those of the truth."""

    scenario: Scenario
    glides: list[Glide]
    pass_counted_us: list[int]
    """When each pass was found complete and over."""
    figures: Figures

    def rows(self) -> Iterator[tuple[str, Value, Value]]:
        """Name, true and counted value of each figure."""
        truth, counted, zone = self.scenario.hand().truth, self.figures, self.scenario
        punctures = self.scenario.recording().contact_strokes * zone.needles
        yield "passes", truth.passes, counted.passes
        yield "glides", len(truth.glides), counted.glides
        yield "punctures", punctures, counted.punctures
        yield "density_per_cm2", round(punctures / zone.size_cm2, 1), round(counted.density_per_cm2, 1)
        yield "contact_s", round(truth.contact_s, 2), round(counted.contact_s, 2)

    def about(self) -> dict[str, int | float | str]:
        """What the treatment was."""
        style = self.scenario.style
        return {
            "seed": self.scenario.seed,
            "area": self.scenario.area_name,
            "size_cm2": round(self.scenario.size_cm2, 1),
            "pattern": style.pattern,
            "speed_mm_s": round(style.speed_mm_s, 1),
            "overlap": round(style.overlap, 2),
            "needles": self.scenario.needles,
            "rate_hz": round(self.scenario.rate_hz, 1),
        }


def replay(seed: int) -> Replay:
    """Draw the treatment of this seed, 0 or more, and count it batch by batch, some of them lost."""
    treatment = scenario(seed)
    counter = PassCounter([Zone(treatment.size_cm2, treatment.needles, treatment.tip_width_mm)])
    glides, counted_us = [], []
    batches = treatment.batches()
    for batch in batches:
        finished = counter.feed(batch)
        since_us = (int(batch["t_us"][-1]) - treatment.first_t_us) % WRAP
        glides += finished.glides
        counted_us += [since_us] * len(finished.passes)
    finished = counter.finish()
    glides += finished.glides
    counted_us += [treatment.hand().duration_us] * len(finished.passes)
    return Replay(treatment, glides, counted_us, counter.figures())


def plot(seen: Replay, path: Path) -> None:
    """Draw path, local density and the course of time into a file whose suffix says what kind of picture it is.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: The file cannot be written.
        ValueError: There is no such kind of picture.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  # an extra, and slow to load

    figure = Figure(figsize=(14, 8.5), dpi=110, layout="constrained")
    figure.suptitle(_title(seen), fontsize=12)
    places = figure.add_gridspec(2, 2, height_ratios=(2.6, 1))
    way = figure.add_subplot(places[0, 0])
    density = figure.add_subplot(places[0, 1], sharex=way, sharey=way)
    _draw_way(way, seen.scenario)
    image = _draw_density(density, seen.scenario)
    figure.colorbar(image, ax=density, label="punctures per cm²", shrink=0.85)
    _draw_time(figure.add_subplot(places[1, :]), seen)
    figure.savefig(path)


def _title(seen: Replay) -> str:
    style, zone = seen.scenario.style, seen.scenario
    what = (
        f"seed {zone.seed}: {zone.area_name}, {zone.size_cm2:.1f} cm², {style.pattern}, {style.speed_mm_s:.0f} mm/s, "
        f"overlap {style.overlap:.0%}, {zone.needles} needles at {zone.rate_hz:.0f} Hz"
    )
    counts = [f"{name} {true:,} true, {counted:,} counted" for name, true, counted in seen.rows() if name[0] in "pg"]
    return what + "\n" + "   ·   ".join(counts)


def _colours(passes: int) -> list[tuple[float, ...]]:
    from matplotlib import colormaps  # noqa: PLC0415  # as above

    return [tuple(colour) for colour in colormaps["tab10"](np.arange(passes))]


def _draw_zone(axes: "Axes", treatment: Scenario, colour: str) -> None:
    width_mm, height_mm = treatment.width_mm, treatment.height_mm
    axes.plot([0, width_mm, width_mm, 0, 0], [0, 0, height_mm, height_mm, 0], color=colour, lw=1.5, label="zone")
    axes.set_aspect("equal")
    axes.set_xlabel("mm")


def _draw_way(axes: "Axes", treatment: Scenario) -> None:
    motion, truth = treatment.hand().motion, treatment.hand().truth
    x_mm = np.where(motion.contact, motion.x_mm, np.nan)
    for index, colour in enumerate(_colours(truth.passes)):
        first, end = (truth.pass_us[index] // 1000).tolist()
        part = slice(first, end + 1)
        label = f"pass {index + 1}: {truth.coverage[index]:.0%} of the zone"
        axes.plot(x_mm[part], motion.y_mm[part], color=colour, lw=0.8, label=label)
    _draw_zone(axes, treatment, "black")
    axes.set_title("where the tip went, in contact")
    axes.set_ylabel("mm")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4, frameon=False)


def _draw_density(axes: "Axes", treatment: Scenario) -> "AxesImage":
    motion = treatment.hand().motion
    grid = Grid.around(motion.x_mm, motion.y_mm, treatment.tip_width_mm)
    left_mm, low_mm = grid.column0 * GRID_MM, grid.row0 * GRID_MM
    extent = left_mm, left_mm + grid.columns * GRID_MM, low_mm, low_mm + grid.rows * GRID_MM
    density_per_cm2 = _density_per_cm2(motion, grid, treatment)
    image = axes.imshow(density_per_cm2, origin="lower", extent=extent, cmap="magma_r", interpolation="nearest")
    _draw_zone(axes, treatment, "black")
    axes.set_title("true local density, over all passes")
    return image


def _density_per_cm2(motion: Motion, grid: Grid, treatment: Scenario) -> Floats:
    """Punctures so far as if each stroke spread its own evenly over the tip, shape (rows, columns)."""
    contact = motion.contact
    shape = grid.rows, grid.columns
    row = np.rint(motion.y_mm[contact] / GRID_MM - 0.5).astype(np.int64) - grid.row0
    column = np.rint(motion.x_mm[contact] / GRID_MM - 0.5).astype(np.int64) - grid.column0
    stays = np.bincount(row * grid.columns + column, minlength=grid.rows * grid.columns).reshape(shape)
    up, across = ((np.arange(cells) + cells // 2) % cells - cells // 2 for cells in shape)
    tip = np.hypot(up[:, None], across) * GRID_MM <= treatment.tip_width_mm / 2
    # A convolution; it wraps around, into a margin as wide as the tip's radius where nothing is.
    spread = np.fft.irfft2(np.fft.rfft2(stays) * np.fft.rfft2(tip), s=shape)
    punctures = treatment.recording().contact_strokes * treatment.needles / contact.sum()
    density: Floats = np.maximum(0, spread) * punctures / (tip.sum() * GRID_MM**2 / 100)
    return density


def _draw_time(axes: "Axes", seen: Replay) -> None:
    truth = seen.scenario.hand().truth
    colours = _colours(truth.passes)
    for index, (start_us, end_us) in enumerate(truth.pass_us.tolist()):
        axes.broken_barh([(start_us / 1e6, (end_us - start_us) / 1e6)], (3.1, 0.8), color=colours[index])
        axes.text((start_us + end_us) / 2e6, 3.5, str(index + 1), color="white", ha="center", va="center")
    for number, counted_us in enumerate(seen.pass_counted_us, 1):
        axes.plot([counted_us / 1e6] * 2, [2.1, 2.9], color="black", lw=2)
        axes.text(counted_us / 1e6, 2.5, f"{number} ", ha="right", va="center")
    true_us = list(zip(truth.glides.start_us.tolist(), truth.glides.end_us.tolist(), strict=True))
    _draw_glides(axes, true_us, 1.1)
    _draw_glides(axes, [(glide.start_us, glide.end_us) for glide in seen.glides], 0.1)
    axes.set_yticks([3.5, 2.5, 1.5, 0.5], ["passes, true", "passes, when counted", "glides, true", "glides, counted"])
    axes.set_ylim(0, 4)
    axes.set_xlim(0, 1.01 * seen.scenario.hand().duration_us / 1e6)
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_glides(axes: "Axes", spans_us: list[tuple[int, int]], bottom: float) -> None:
    """Bars, darker and lighter in turn."""
    for shade, part in (("0.3", spans_us[::2]), ("0.65", spans_us[1::2])):
        axes.broken_barh([(start / 1e6, (end - start) / 1e6) for start, end in part], (bottom, 0.8), color=shade)
