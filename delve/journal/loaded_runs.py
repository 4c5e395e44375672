"""Several recorded runs for programs: what ``delve.load_all`` returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from delve.journal.frames import layers_frame, scalars_frame, summary_frame
from delve.journal.html import runs_as_html
from delve.journal.loaded_run import LoadedRun, plot_plugin
from delve.journal.summary import Row, differing_columns, summarise

if TYPE_CHECKING:
    import pandas as pd


class LoadedRuns(Sequence[LoadedRun]):
    """Several runs, in natural order of their names."""

    def __init__(self, runs: Sequence[LoadedRun], within: str = "") -> None:
        self._runs = tuple(runs)
        self._within = within

    @property
    def scalars(self) -> pd.DataFrame:
        """Your own numbers of all runs: run, epoch, step, name, value."""
        return scalars_frame([run.part for run in self._runs], has_names=True)

    @property
    def layers(self) -> pd.DataFrame:
        """The layers' statistics of all runs: run, epoch, step, mode, layer, stat, value."""
        return layers_frame([run.part for run in self._runs], has_names=True)

    @property
    def summary(self) -> pd.DataFrame:
        """One row for each run: run, status, epochs, its hyperparameters, its last scalars.

        Nested hyperparameters have dotted names; a scalar that is called like a column before it
        is ``last NAME``. So ``runs.summary.pivot(index="width", columns="lr", values="accuracy")``
        is a sweep at a glance.
        """
        return summary_frame(self._rows)

    @property
    def names(self) -> list[str]:
        """What the runs are called in the tables."""
        return [run.name for run in self._runs]

    def plot(
        self, stat: str = "saturation", epoch: int | None = None, by: str | None = None
    ) -> Any:
        """A figure of Matplotlib that compares the runs, as ``delve plot`` draws it of a folder.

        Runs that do not hold the statistic are left out, with a warning.

        Args:
            stat: As the tracker takes it, ``lsat``, or its long name.
            epoch: By default each run's last one that holds the statistic.
            by: What panels are for: a hyperparameter, ``type`` (of layers), ``layer``, or ``run``;
                by default what suits the runs.

        Raises:
            ArgumentError: No run holds anything of it there, or no hyperparameter is called so.
            DelveError: The plot plugin is not installed.
        """
        stored = [run.stored for run in self._runs]
        return plot_plugin().runs_figure(
            stored, self.names, stat=stat, epoch=epoch, by=by, within=self._within
        )

    @overload
    def __getitem__(self, which: int | str) -> LoadedRun: ...

    @overload
    def __getitem__(self, which: slice) -> LoadedRuns: ...

    def __getitem__(self, which: int | str | slice) -> LoadedRun | LoadedRuns:
        """A run by its place or its name."""
        if isinstance(which, str):
            found = [run for run in self._runs if run.name == which]
            if not found:
                raise KeyError(which)
            return found[0]
        return (
            LoadedRuns(self._runs[which], self._within)
            if isinstance(which, slice)
            else self._runs[which]
        )

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[LoadedRun]:
        return iter(self._runs)

    def __repr__(self) -> str:
        return (
            f"<{len(self)} runs: {', '.join(map(repr, self.names[:5]))}{', ...' * (len(self) > 5)}>"
        )

    def _repr_html_(self) -> str:
        rows = self._rows
        within = f" in {self._within}" if self._within else ""
        columns = differing_columns(rows, ("run", "status", "epochs"))
        return runs_as_html(f"{len(self)} runs{within}", columns, rows)

    @property
    def _rows(self) -> list[Row]:
        return summarise(
            [
                (
                    {"run": run.name, "status": run.status, "epochs": len(run.epochs)},
                    run.stored.config,
                    {name: float(values[-1]) for name, (_, values) in run.table.series.items()},
                )
                for run in self._runs
            ]
        )
