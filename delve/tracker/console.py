"""Saturation on the console, as bars that leave the user's own progress bars whole."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tqdm.auto import tqdm

from delve.base.printable import printable

WIDTH = 80  # columns, of a line with a name of usual length


def show_saturations(
    saturations: Mapping[tuple[str, str], float], epoch: int | None = None
) -> None:
    """Draw the saturation of each (mode, layer) as a bar out of 100, in the order given."""
    modes = list(dict.fromkeys(mode for mode, _ in saturations))
    names = {layer: printable(layer) for _, layer in saturations}
    width = max(map(len, names.values()), default=0)
    for mode in modes:
        if epoch is not None or len(modes) > 1:
            tqdm.write(f"{mode}, epoch {epoch}" if epoch is not None else mode)
        for (other, layer), value in saturations.items():
            if other == mode:
                tqdm.write(_bar(names[layer], value, width))


def _bar(layer: str, value: float, width: int) -> str:
    name = f"{layer}:".ljust(width + 1)
    if math.isnan(value):
        return f"{name} not finite"
    shorter = len("100.0") - len(f"{100 * value:.1f}")  # so that all bars are of one length
    bar: str = tqdm.format_meter(
        100 * value,
        100,
        elapsed=0,
        ncols=max(WIDTH, width + 30) - shorter,
        ascii=" #",  # whole signs: tqdm's own fill the last place with a digit
        prefix=name,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total:.0f}",
    )
    return bar
