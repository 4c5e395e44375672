"""What a writer promises of a run that goes well."""

from __future__ import annotations

import math
from pathlib import Path

from delve.errors import JournalError
from delve.journal.reading import read_epochs
from delve.records import Metric
from delve.testing.base import Record, WriterTests, given_values, needs
from delve.testing.recording import Recording
from delve.testing.rows import LAYERS, Row, sample_rows

LONG = "encoder." + "blocks.0." * 40 + "conv"  # about 370 characters

_AWKWARD = [
    "a/b",
    "A/B",
    "a b",
    "a_b",
    "a.b",
    "a:b",
    " a",
    "a ",
    "/a",
    "a/",
    "a//b",
    "../x",
    "../../x",
    "..",
    ".",
    "con",
    "journal.jsonl",
    "../journal.jsonl",
    "rocket \N{ROCKET}",
    "Genauigkeit (gr\N{LATIN SMALL LETTER O WITH DIAERESIS}\N{LATIN SMALL LETTER SHARP S}te)",
    "two\nlines",
    "a\ttab",
    'comma, "quote" and %s {0}',
    "=1+1",
    "step",
    "x" * 300,
    "x" * 299 + "y",
]


class StoringContract(WriterTests):
    """What goes in comes back, whatever it is and however it is called."""

    def test_scalars_and_metrics_come_back(self, record: Record) -> None:
        """Several epochs, with metrics that come late and metrics that come rarely."""
        rows = sample_rows(range(4))
        self.check_scalars(record("every epoch must come back exactly as recorded", *rows), rows)

    def test_late_and_rare_metrics_come_back(self, record: Record) -> None:
        """A metric may be there in some epochs only."""
        rows = [Row(0, {"loss": 0.75, "rare": 0.25}), *(Row(e, {"loss": 1 / e}) for e in (1, 2, 3))]
        rows += [Row(4, {"loss": 0.5}, {_eval(LAYERS[1]): 0.5}), Row(5, {"late": 0.5, "rare": 3.0})]
        promise = "a late or rare metric must be held in the epochs that have it, and only there"
        self.check_scalars(record(promise, *rows), rows)

    def test_nan_and_infinities_come_back(self, record: Record) -> None:
        """They are what a diverging training is recognised by."""
        metrics = {Metric("train", "saturation", layer): math.nan for layer in LAYERS}
        rows = [
            Row(0, {"loss": math.nan, "lr": 0.5}, {**metrics, _eval(LAYERS[0]): 0.25}),
            Row(1, {"loss": math.inf, "lr": -math.inf}, {_eval(LAYERS[0]): 0.5}),
            Row(2, {"loss": 0.125, "lr": 0.5}, metrics),
        ]
        promise = (
            "NaN and infinities must come back as they are (override stored(value) for a backend "
            "that cannot hold them)"
        )
        self.check_scalars(record(promise, *rows), rows)

    def test_a_value_logged_again_in_its_epoch_replaces(self, record: Record) -> None:
        """The last one counts."""
        promise = "of a scalar that is logged twice in an epoch the last value must be held, once"
        recording = record(promise)
        recording.open()
        for loss in (0.75, 0.5):
            recording.stage(Row(0, {"loss": loss}))
        recording.save(Row(0, {}, {_eval(LAYERS[0]): 0.25}))
        recording.close()
        self.check_scalars(recording, [Row(0, {"loss": 0.5}, {_eval(LAYERS[0]): 0.25})])

    def test_an_epoch_without_values_does_no_harm(self, record: Record) -> None:
        """A run may save an epoch in which nothing was logged."""
        rows = [Row(0, {"loss": 0.5}), Row(1), Row(2, {"loss": 0.25})]
        self.check_scalars(record("an epoch without values must not disturb others", *rows), rows)

    def test_dotted_and_long_layer_names_come_back(self, record: Record) -> None:
        """Layers are called as in ``model.named_modules()``."""
        layers = ("layer1.0.conv1", "layer1.0.conv10", "layer1.0", LONG, LONG + "2")
        rows = [
            Row(epoch, {}, {_eval(layer): epoch + i / 8 for i, layer in enumerate(layers)})
            for epoch in range(2)
        ]
        recording = record("each layer must keep a name of its own", *rows, layers=layers)
        self._check_values_under_any_names(recording, rows)

    def test_awkward_names_are_neither_lost_nor_merged(self, record: Record) -> None:
        """Nor do they lead out of the run's folder, or change when the run is resumed."""
        rows = [
            Row(
                epoch,
                {name: i + epoch / 2 for i, name in enumerate(_AWKWARD)},
                {_eval(layer): 100 + i + epoch / 2 for i, layer in enumerate(_AWKWARD)},
            )
            for epoch in range(2)
        ]
        promise = "metrics with awkward names must neither get lost nor merged"
        recording = record(promise, *rows, layers=_AWKWARD)
        self._check_values_under_any_names(recording, rows)

    def test_awkward_names_stay_in_the_folder(
        self, record: Record, folder: Path, tmp_path: Path
    ) -> None:
        """A name is no path."""
        names = [*_AWKWARD, str(tmp_path / "runs" / "absolute")]
        row = Row(0, dict.fromkeys(names, 0.5), {_eval(name): 0.5 for name in names})
        record("awkward names must not lead out of the run's folder", row, layers=names)
        inside = {folder, *folder.parents}
        outside = [
            str(path)
            for path in (tmp_path / "runs").rglob("*")
            if path not in inside and folder not in path.parents
        ]
        assert not outside, f"nothing must be written outside of {folder}; {outside} was"
        assert _journal_is_whole(folder), "a metric's name must not lead to the run's journal"

    @needs("add_array")
    def test_arrays_come_back(self, record: Record) -> None:
        """Covariance matrices, spectra, embedded samples."""
        rows = sample_rows(range(2), arrays=True)
        self.check_arrays(record("every array must come back as recorded", *rows), rows)

    def _check_values_under_any_names(self, recording: Recording, rows: list[Row]) -> None:
        """Each given name has one name in the backend, the same in all epochs, and its own."""
        held: dict[tuple[int, float], list[str]] = {}
        for epoch, name, value in self.read_scalars(recording.folder):
            held.setdefault((epoch, value), []).append(name)
        backend_names: dict[str, set[str]] = {}
        for row in rows:
            for name, value in given_values(recording, row).items():
                found = held.pop((row.epoch, self.stored(value)), [])
                assert len(found) == 1, (
                    f"{recording.promise}; epoch {row.epoch} holds the value of {name!r} "
                    f"{len(found)} times"
                )
                backend_names.setdefault(name, set()).add(found[0])
        assert not held, f"{recording.promise}; it holds values that were not given: {held}"
        for name, names in backend_names.items():
            assert len(names) == 1, (
                f"a metric must keep its name from epoch to epoch; {name!r} became {sorted(names)}"
            )
        distinct = {name for names in backend_names.values() for name in names}
        assert len(distinct) == len(backend_names), (
            f"{recording.promise}; {len(backend_names)} names became {len(distinct)}"
        )


def _journal_is_whole(folder: Path) -> bool:
    try:
        return read_epochs(folder) == [0]
    except JournalError:
        return False


def _eval(layer: str) -> Metric:
    return Metric("eval", "saturation", layer)
