"""What a writer promises of rows that carry training steps."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from delve.testing.base import WriterTests, needs
from delve.tracker import SaturationTracker


class SteppingContract(WriterTests):
    """Each row is there once, whether the backend knows it by its epoch or by its step."""

    @needs("resume_from_saved_state", "save", "add_scalar")
    def test_rows_of_steps_go_on_behind_those_that_stay(self, folder: Path) -> None:
        """A resume by a step voids the rows of later ones, and those come again at other steps."""
        self._record(folder, {100: 1.0, 200: 0.5, 300: 0.25, 400: 0.125, 500: 0.0625})
        self._record(folder, {250: 2.0}, initial_step=200)
        self._record(folder, {700: 8.0}, initial_step=650)
        losses = sorted(
            (x, value) for x, name, value in self.read_scalars(folder) if name == "loss"
        )
        promise = (
            "rows of steps 100, 200, 300, 400 and 500 that are resumed by step 200, go on with 250 "
            "and then with 700, must each be there once, in their order"
        )
        expected = [self.stored(value) for value in (1.0, 0.5, 2.0, 8.0)]
        assert [value for _, value in losses] == expected, f"{promise}; it holds {losses}"

    def _record(
        self, folder: Path, losses: dict[int, float], initial_step: int | None = None
    ) -> None:
        with SaturationTracker(
            folder, self.make_writer(folder), nn.Linear(2, 2), initial_step=initial_step
        ) as tracker:
            for step, loss in losses.items():
                tracker.add_scalar("loss", loss)
                tracker.save(step=step)
