"""The writer contract: the pluggy hook specification that every writer implements.

A writer is any object with methods of these names; each method takes only the arguments that it
needs, by their names here, and a method that a writer has no use for is left out. The
specification grows by new arguments and new hooks only, so a writer stays valid: names are never
changed, and what is to go warns at the plugin's own line for one minor version first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pluggy

from delve.records import HeldEpoch, Metric, RunInfo

PROJECT = "delve"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class WriterSpec:
    """The calls that a writer gets, in the order of a run.

    ``start`` or ``resume_from_saved_state`` comes first; then, for each epoch, ``add_scalar`` as
    the user logs, ``add_scalars`` and ``add_array`` once the epoch is complete, and ``save``;
    ``close`` comes last. ``held_epochs`` stands apart: it is for runs whose journal is lost.

    A pair of epoch and name identifies a value: a writer that gets the same
    pair again replaces what it holds.
    """

    @hookspec
    def start(self, run: RunInfo) -> None:
        """Open files and remote runs for a new run, overwriting local files of an earlier one.

        May be called again where it failed before; and on a resume, if the run began in the folder
        of an earlier one while this writer was away, whose files are that run's.

        Example::

            def start(self, run):
                self.file = open(run.savefile / "metrics.txt", "w")
        """

    @hookspec(firstresult=True)
    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int | None:
        """Hold exactly the epochs below ``initial_epoch`` and be ready for more.

        Returns the first epoch that the backend lacks, at most ``initial_epoch``: from there on
        it is fed from the journal. None says that the backend cannot tell; nothing below
        ``initial_epoch`` is fed again.

        Where the run went back to an earlier epoch while this writer was away, ``initial_epoch``
        is that one: what the backend holds from there on is void.

        Example::

            def resume_from_saved_state(self, initial_epoch):
                self.rows = [row for row in self.read_back() if row["epoch"] < initial_epoch]
                return len(self.rows)
        """

    @hookspec
    def add_scalar(self, name: str, value: float, epoch: int, timestamp: int, run: RunInfo) -> None:
        """Take a scalar of the user's, as soon as it is logged.

        ``timestamp`` is in milliseconds since 1970. The value is staged until ``save``.

        Example::

            def add_scalar(self, name, value):
                self.row[name] = value
        """

    @hookspec
    def add_scalars(
        self,
        prefix: str,
        value_dict: dict[Metric, float],
        global_step: int,
        timestamp: int,
        run: RunInfo,
        sample_value_dict: Mapping[Metric, np.ndarray],
        step: int | None,
    ) -> None:
        """Take the layer metrics of one epoch.

        ``global_step`` is the epoch and ``prefix`` is always empty: both carry the names that
        delve 0.1 gave them. Keys are :class:`~delve.records.Metric`; the dictionary is the
        writer's own. ``sample_value_dict`` holds embedded samples, (samples x 2) each. ``step`` is
        the training step of the row, None where the user gave none.

        Example::

            def add_scalars(self, value_dict):
                self.row.update(value_dict)
        """

    @hookspec
    def add_array(
        self,
        name: Metric,
        value: np.ndarray,
        epoch: int,
        timestamp: int,
        run: RunInfo,
        step: int | None,
    ) -> None:
        """Take one array of the epoch: a covariance matrix, a spectrum, embedded samples.

        The array is read-only. Arrays are not fed again after a crash: the journal holds scalars.

        Example::

            def add_array(self, name, value, epoch):
                np.save(self.folder / f"{name.stat}-{epoch:05d}.npy", value)
        """

    @hookspec
    def save(self, epoch: int, timestamp: int, run: RunInfo, step: int | None) -> None:
        r"""The epoch is complete: make what was staged durable in the backend.

        ``step`` is the training step at which the row was taken, and then its place on the x axis;
        None in a run whose x axis is the epoch. The key of the row is ``epoch`` in either case.

        Example::

            def save(self, epoch):
                self.file.write(json.dumps({"epoch": epoch, **self.row}) + "\n")
                self.file.flush()
                self.row = {}
        """

    @hookspec
    def close(self, error: BaseException | None, run: RunInfo) -> None:
        """The run ends, normally (``error`` is None) or by an exception. May be called twice.

        Example::

            def close(self, error):
                self.file.close()
        """

    @hookspec(firstresult=True)
    def held_epochs(self, run: RunInfo) -> Iterable[HeldEpoch] | None:
        """Read the epochs back that the backend holds whole. For local backends; changes nothing.

        It is called instead of ``start`` and ``resume_from_saved_state``, where the run's journal
        is lost: before a resume that would cut epochs which the journal does not know, and by
        ``delve repair``, which writes the journal anew. So ``run`` tells what can still be known:
        ``state`` may be empty. What another program wrote is not to be read back.

        Example::

            def held_epochs(self, run):
                rows = map(json.loads, (run.savefile / "metrics.txt").read_text().splitlines())
                return [delve.HeldEpoch(row.pop("epoch"), row) for row in rows]
        """


HOOKS = tuple(name for name in vars(WriterSpec) if not name.startswith("_"))
