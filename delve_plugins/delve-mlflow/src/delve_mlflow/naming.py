"""How the names of a run's metrics become keys: as the user wants it, or as they are already."""

from __future__ import annotations

from collections.abc import Iterable

from mlflow.entities import Run

from delve.errors import WriterConfigurationError
from delve.records import RunInfo
from delve_mlflow.identity import KEY_STYLE, PREFIX, Identity, Remembered
from delve_mlflow.keys import ORDERED, PLAIN, Keys, KeyStyle, LayerNumbers, RunsKeys


class Naming:
    """Knows prefix and style of the keys, which stay as a run began with them.

    Args:
        run: What the writer is told.
        remembered: What the journal remembers of MLflow.
        identity: What tells this run's runs in MLflow from all others.
        prefix: What the user wants keys to begin with.
        style: How the user wants keys made; None for as the run has them.

    Raises:
        WriterConfigurationError: The run began with another style.
    """

    def __init__(
        self,
        run: RunInfo,
        remembered: Remembered,
        identity: Identity,
        prefix: str,
        style: KeyStyle | None,
    ) -> None:
        self._names = run.metrics
        self._remembered = remembered
        self._run_id = identity.run_id
        # An export knows no prefix, and goes on with that of the run.
        self.prefix = prefix or remembered.prefix or ""
        self._given = style
        self._check_style(remembered.key_style, "")
        copied = run.origin is not None and remembered.key_style is None
        before = Remembered.of(run.origin.state) if run.origin and copied else remembered
        self._style = style or before.key_style or PLAIN
        self._numbers = LayerNumbers(before.numbers)

    @property
    def keys(self) -> Keys:
        """How a name becomes a key."""
        return Keys(self.prefix, self._numbers if self._style == ORDERED else None)

    @property
    def of_run(self) -> RunsKeys:
        """The keys of what the journal holds."""
        return RunsKeys(self.keys, self._names)

    @property
    def tags(self) -> dict[str, str]:
        """What a run in MLflow is to say of it, whoever made it."""
        return {} if self._style == PLAIN else {KEY_STYLE + self._run_id: self._style}

    @property
    def guest_tags(self) -> dict[str, str]:
        """What one that somebody else made is to say."""
        return self.tags | ({PREFIX + self._run_id: self.prefix} if self.prefix else {})

    def take_from(self, known: Run) -> None:
        """Have keys made as a run has them that got metrics of this run.

        Raises:
            WriterConfigurationError: The user wants them otherwise.
        """
        self._check_prefix(known)
        began = known.data.tags.get(KEY_STYLE + self._run_id)
        began = began or self._remembered.key_style or PLAIN
        self._check_style(began, f" run {known.info.run_id}")
        self._style = ORDERED if began == ORDERED else PLAIN
        if self._style == ORDERED and not self._numbers.texts:  # the journal has lost them
            self._numbers = LayerNumbers.read(self._without_prefix(known.data.metrics))

    def _without_prefix(self, keys: Iterable[str]) -> Iterable[str]:
        return (key.removeprefix(self.prefix) for key in keys if key.startswith(self.prefix))

    def _check_prefix(self, known: Run) -> None:
        before = self._remembered.prefix
        if self._remembered.run_id != known.info.run_id or before in (None, self.prefix):
            return
        raise WriterConfigurationError(
            f"writer 'mlflow': the metrics of this run begin with {before!r} in MLflow run "
            f"{known.info.run_id}, and would now begin with {self.prefix!r}; give the prefix of "
            "before, or none"
        )

    def _check_style(self, began: str | None, where: str) -> None:
        if began is None or self._given in (None, began):
            return
        raise WriterConfigurationError(
            f"writer 'mlflow': the keys of this run began with key_style={began!r} in MLflow"
            f"{where}, and would now go on with {self._given!r}, so that each curve would break in "
            "two; give the key_style of before, or none"
        )
