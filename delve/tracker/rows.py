"""The rows of a run: statistics of the samples since the last one, over all processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from delve.capture.replaced import LayerWatch
from delve.journal.html import run_as_html
from delve.numerics import processes
from delve.numerics.accumulator import Accumulator
from delve.numerics.company import Company
from delve.numerics.sketch import Sketch
from delve.numerics.waiting import meet
from delve.records import MODES, LayerKey
from delve.stats.computation import Results, Statistics
from delve.tracker import console
from delve.tracker.checkpoints import Checkpoints
from delve.tracker.company import company_of

_PATIENCE = 50.0  # timeouts of the process group, for layers that take long to decompose


class Rows(Checkpoints):
    """Statistics, taken and recorded."""

    _layers: LayerWatch
    _statistics: Statistics
    _saturations: dict[LayerKey, float]  # of the last row
    _averages: dict[str, str]  # the scalars of averages, and the mode of each
    _verbose: bool
    _forget: bool
    _few: Mapping[str, Sequence[str]] = MappingProxyType({})  # of the last row, for people
    _features: Mapping[str, int] = MappingProxyType({})

    def add_saturations(self, save: bool = True, *, step: int | None = None) -> None:
        """Compute the selected statistics of all layers over the samples since the last call.

        Under ``torch.distributed`` it is collective: the samples of all processes count, and an
        error in one is raised in all.

        Args:
            save: Whether that ends the epoch. False leaves it to :meth:`save`.
            step: The training step at which the row is taken, for those who count steps: it is the
                x axis in every backend then. A run has one x axis: the first row decides, and all
                rows have a step, which rises, or none has.

        Raises:
            ArgumentError: The step falls, repeats or is none, or the run's rows have steps and
                this one has not, or the other way round. Nothing was recorded.
        """
        self._check_open()
        if not self._turns.is_due:
            self._steps.check(step)
            self._go_on(self._turns.passed + 1)
            return
        meet("add_saturations()", self._group)
        self._settle()
        given = processes.raise_in_all_ranks(lambda: self._checked(step, save), self._group)
        # A layer that saw nothing new here may have elsewhere: then its earlier samples count.
        seen = self._seen_anywhere()
        is_dealt = self._statistics.can_be_dealt and processes.is_distributed(self._group)
        covariances = self._reduced(
            self._hooks.held(seen), deal=is_dealt, consume=is_dealt and self._forget
        )
        company: dict[LayerKey, Company] = {}
        if self._statistics.gathers:
            modules = self._hooks.modules
            company = company_of(seen, self._gathering, modules, self._reduced, self._group)
        of_all = self._results_of_all(covariances, company, seen) if is_dealt else None

        def record() -> None:
            results = of_all
            if self._is_writing and results is None:
                results = self._statistics.compute(covariances, company, consume=self._forget)
            elif self._is_writing and results is not None:
                self._statistics.warn(results)
            with self._whole():
                self._check_open()  # a handler may have closed it meanwhile
                if self._is_writing and results is not None:
                    self._stage(results)
                self._hooks.follow_ranges(covariances)
                self._hooks.mark_used(self._forget, seen)
                self._layers.look_again()
                self._turns.count()
                self._hooks.is_idle = not self._turns.is_gathering
                self._staged.step = given
                if save:
                    self.save()

        processes.raise_in_all_ranks(record, self._group)

    def saturation(self) -> None:
        """Draw the current saturation of each layer on the console, as bars.

        That is over this process's samples since the last :meth:`add_saturations`, or of that call
        where there were none since.
        """
        fresh = self._hooks.fresh()
        if fresh:
            self._saturations = self._statistics.saturations(fresh)
        console.show_saturations(self._saturations)

    def _results_of_all(
        self,
        covariances: Mapping[LayerKey, Accumulator],
        company: Mapping[LayerKey, Company],
        order: list[LayerKey],
    ) -> Results:
        """What the processes compute, each of the layers that were dealt to it."""
        mine = {
            key: one
            for key, one in covariances.items()
            if self._is_writing or not isinstance(one, Sketch)
        }

        def compute() -> Results:
            try:
                return self._statistics.compute_quietly(mine, company, consume=self._forget)
            finally:  # in no collective, whose timeout would end those that wait in it
                meet("add_saturations(), computing", self._group, _PATIENCE)

        results = processes.raise_in_all_ranks(compute, self._group)
        return Results.of_all(processes.gather(results, self._group), order)

    def display(self) -> None:
        """Show the last saturation of each layer, and bring that up to date with each epoch.

        In a notebook that is one output, of the cell that calls this; elsewhere it is drawn on the
        console, once.
        """
        if self._display.is_possible():
            self._display.show(self)
        else:
            self.saturation()

    def _repr_html_(self) -> str:
        state = f"after epoch {self._epoch - 1}" if self._saturations else f"epoch {self._epoch}"
        state = f"closed, {state}" if self._closed else state
        few = [f"fewer samples than features ({m}): {', '.join(n)}" for m, n in self._few.items()]
        return run_as_html(
            f"{self.savefile.name}: {state}",
            self.savefile,
            self._hooks.layers,
            self._saturations,
            self._features,
            few,
        )

    def _checked(self, step: int | None, is_whole: bool) -> int | None:
        """The step of the row at hand; without one, it may still come if the row is not whole."""
        given = self._staged.step if step is None else step
        if given is None and not is_whole:
            return None
        return self._steps.check(given, self._staged.scalars)

    def _seen_anywhere(self) -> list[LayerKey]:
        """What saw new samples in any process, by mode and in the order of layers."""
        own = self._hooks.modules
        order = [name for name in self._hooks.layers if name in own]
        names = processes.union(order, self._group)
        self._hooks.know_of(name for name in names if name not in own)
        fresh = set(processes.union(self._hooks.fresh(), self._group))
        return [(mode, name) for mode in MODES for name in names if (mode, name) in fresh]

    def _stage(self, results: Results) -> None:
        self._staged.metrics |= results.scalars
        self._staged.arrays |= results.arrays
        self._staged.few_samples |= results.few_samples
        self._staged.features |= results.features
        self._few, self._features = results.few_samples, results.features
        self._saturations = results.saturations
        for name, mode in self._averages.items():
            average = results.average_saturation(mode)
            if average is not None:
                self._log(name, average)
        if self._verbose:
            console.show_saturations(results.saturations, self._epoch)
