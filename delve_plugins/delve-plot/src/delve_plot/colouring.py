"""The colours of runs: of each its own, of a hyperparameter's values, or of the modes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from delve_plot.arrangement import (
    MOST_COLOURS,
    Arrangement,
    is_scale,
    short_value,
    told_value,
    values_of,
)
from delve_plot.compared import Compared
from delve_plot.legend import sign_of
from delve_plot.style import COLOURS, FONT_SIZE, MARKERS, MISSING, plain

# Okabe and Ito's colours, which the colour-blind tell apart; markers tell them apart in grey.
_COLOURS = (*COLOURS.values(), "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "oDs^vPX"
_SCALE = "viridis"
_BRIGHTEST = 0.92  # of the scale: its yellow is too bright for a line on white
_MOST_NAMED = 8  # values in a legend; more have a bar
_MOST_TICKS = 12  # names at a bar
_BAR = 3.0  # inches at most
_BAR_WIDTH, _BAR_GAP = 0.16, 0.1  # inches


@dataclass(frozen=True)
class Look:
    """What a run's curve looks like.

    Attributes:
        colour: Of line and marker.
        marker: Of its dots.
    """

    colour: str
    marker: str


@dataclass(frozen=True)
class Colouring:
    """The colours of all runs, and what explains them.

    Attributes:
        looks: Of each run; empty where colours are those of the modes.
        labels: What the looks mean, in the order of the legend.
        steps: The names of a bar's steps, from the darkest; empty where the legend has all.
        title: What the bar shows.
    """

    looks: Sequence[Look] = ()
    labels: Sequence[tuple[Look, str]] = ()
    steps: Sequence[str] = ()
    title: str = ""

    @property
    def of_modes(self) -> bool:
        """Whether a colour is a mode, so that both stand in one panel."""
        return not self.looks

    def look(self, run: int, mode: str) -> Look:
        """What a run's curve of a mode looks like."""
        return Look(COLOURS[mode], MARKERS[mode]) if self.of_modes else self.looks[run]

    def handles(self, modes: Sequence[str]) -> list[Line2D]:
        """What explains the colours in a legend."""
        labels = self.labels
        if self.of_modes:
            labels = [(self.look(0, mode), mode) for mode in modes]
        return [sign_of(label, look.colour, look.marker) for look, label in labels]

    def draw_bar(self, figure: Figure, panels: Sequence[Axes]) -> None:
        """Draw the bar of colours beside the panels, if there is one."""
        if not self.steps:
            return
        count = len(self.steps)
        norm = BoundaryNorm(np.arange(count + 1) - 0.5, count)
        width, height = figure.get_size_inches()
        bar = figure.colorbar(
            ScalarMappable(norm, _scale(count)),
            ax=list(panels),
            shrink=min(1.0, _BAR / height),
            fraction=_BAR_WIDTH / width,
            pad=_BAR_GAP / width,
            aspect=min(_BAR, height) / _BAR_WIDTH,
            anchor=(0, 1),
        )
        every = -(-count // _MOST_TICKS)
        places = range(0, count, every)
        bar.set_ticks(list(places), labels=[self.steps[place] for place in places])
        bar.ax.tick_params(labelsize=0.8 * FONT_SIZE, length=0)
        bar.ax.minorticks_off()
        bar.outline.set_visible(False)
        bar.set_label(self.title, size=0.9 * FONT_SIZE)
        plain(*bar.ax.get_yticklabels(), bar.ax.yaxis.label)


def colouring_of(runs: Compared, plan: Arrangement) -> Colouring:
    """The colours that an arrangement asks for."""
    if plan.colours is not None:
        return _of_values(runs, plan.colours)
    if plan.by_run or plan.panels is not None or len(runs.names) == 1:
        return Colouring()
    count = len(runs.names)
    if count > MOST_COLOURS:
        looks = [Look(colour, "o") for colour in _steps(count)]
        return Colouring(looks, (), runs.names, "run")
    looks = [Look(_COLOURS[n], _MARKERS[n]) for n in range(count)]
    return Colouring(looks, list(zip(looks, runs.names, strict=True)))


def _of_values(runs: Compared, key: str) -> Colouring:
    values = values_of(runs.configs, key)
    held = [value for value in values if value is not None]
    if is_scale(runs.configs, key):
        colours, markers = _steps(len(held)), "o" * len(held)
    else:
        colours, markers = list(_COLOURS), _MARKERS
    looks: dict[str | None, Look] = {
        value: Look(colour, marker)
        for value, colour, marker in zip(held, colours, markers, strict=False)
    }
    looks[None] = Look(MISSING, "o")
    of_runs = [looks[config.get(key)] for config in runs.configs]
    if len(held) > _MOST_NAMED:
        rest = [(looks[None], told_value(key, None))] if None in values else []
        steps = [short_value(value) for value in held]
        return Colouring(of_runs, rest, steps, key.rpartition(".")[2])
    return Colouring(of_runs, [(looks[value], told_value(key, value)) for value in values])


def _scale(count: int) -> Colormap:
    return ListedColormap(_steps(count))


def _steps(count: int) -> list[str]:
    """Colours of rising brightness."""
    return [to_hex(colour) for colour in colormaps[_SCALE](np.linspace(0, _BRIGHTEST, count))]
