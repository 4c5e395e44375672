"""Saturation on the console, as bars that leave the user's own progress bars whole."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tqdm import tqdm

from delve.base.bar import draw_bar
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
    """``linear1:  90%|#########  | 90.0/100``."""
    name = f"{layer}:".ljust(width + 1)
    if not math.isfinite(value):
        return f"{name} not finite"
    before, behind = f"{name} {100 * value:3.0f}%|", f"| {100 * value:.1f}/100"
    room = max(WIDTH, width + 30) - len(before) - len("| 100.0/100")  # all bars are of one length
    return f"{before}{draw_bar(value, room, full='#', empty=' ')}{behind}"
