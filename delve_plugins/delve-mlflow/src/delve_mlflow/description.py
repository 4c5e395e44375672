"""What MLflow's page says of a run of Delve's own, above its numbers."""

from __future__ import annotations

import shlex

TAG = "mlflow.note.content"  # where MLflow keeps the description, which is Markdown


def of(folder: str) -> str:
    """The description of a run in this folder."""
    return (
        f"Recorded by Delve. To see more, in a terminal: `delve show {shlex.quote(folder)}`\n\n"
        "*Saturation* is the share of the directions of a layer's outputs that explain 99 % of "
        "their variance: near 1 where a layer uses all that it has, near 0 where it could be "
        "narrower. The metrics are `train-saturation/<layer>` and `eval-saturation/<layer>`; the "
        "artifacts in `delve` have a table of all layers, and what is wrong with the network if "
        "anything is.\n"
    )
