"""Figures that a notebook shows as pictures."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

from delve_plot.lettering import missing_glyphs_as_boxes


class ShownFigure(Figure):
    """A figure whose picture is the output of the cell that ends with it.

    IPython learns to show figures when pyplot is imported, which Delve never does; before that, a
    cell would end with ``<Figure size 640x480 with 2 Axes>``. Where it has learnt that, its own way
    goes first.
    """

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        with missing_glyphs_as_boxes():
            self.savefig(file, format="png")
        return file.getvalue()
