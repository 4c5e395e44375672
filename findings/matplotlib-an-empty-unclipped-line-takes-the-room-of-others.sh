#!/usr/bin/env bash
# matplotlib 3.11.2
#
# A line without points has no extent, so that nothing makes room for it. One with markers and
# clip_on=False (as curves whose end points lie on the axes' edge are drawn) says of itself that it
# covers the figure's lower left corner, and constrained layout keeps that corner free of all else:
# in two by two panels, one such line in the last takes nine tenths of the width of the first column.
# Clipped, or without markers, the same line takes nothing; neither does one whose points are NaN.
#
# Seen (width of the first panel, of the figure's):
#   no empty line: 0.43
#   empty, markers, unclipped: 0.04
#   empty, markers, clipped: 0.43
#   empty, no markers, unclipped: 0.43
#   of NaN, markers, unclipped: 0.43
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet matplotlib==3.11.2
cat > "$folder/look.py" <<'PYTHON'
import math

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def width(points=None, **style):
    figure = Figure(figsize=(6, 4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    for panel in panels.flat:
        panel.plot([1, 2], [1, 2], marker="o", clip_on=False)
    if points is not None:
        panels[1, 1].plot(points, points, **style)
    canvas.draw()
    return f"{panels[0, 0].get_position().width:.2f}"


print("no empty line:", width())
print("empty, markers, unclipped:", width([], marker="o", clip_on=False))
print("empty, markers, clipped:", width([], marker="o"))
print("empty, no markers, unclipped:", width([], clip_on=False))
print("of NaN, markers, unclipped:", width([math.nan], marker="o", clip_on=False))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/look.py")
echo "$seen"
test "$seen" = "no empty line: 0.43
empty, markers, unclipped: 0.04
empty, markers, clipped: 0.43
empty, no markers, unclipped: 0.43
of NaN, markers, unclipped: 0.43"
