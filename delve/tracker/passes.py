"""Which forward passes count, of which layers, and as what."""

from __future__ import annotations

import contextlib
from typing import Literal

from delve.capture.replaced import LayerWatch
from delve.tracker.session import Session


class Passes(Session):
    """What a user says about the forward passes of the tracked model."""

    _layers: LayerWatch

    def mode(
        self, mode: Literal["train", "eval", "off"]
    ) -> contextlib.AbstractContextManager[None]:
        """Within ``with tracker.mode("eval"):`` say what forward passes are.

        Otherwise a pass is one of training or of evaluation as the tracked model says: the one that
        was given as ``modules``, whatever mode parts of it are in, so that a frozen backbone in
        evaluation mode counts as trained with; each of several that were given; the layer's own
        mode where layers were given alone.

        Args:
            mode: ``train`` or ``eval``, for frameworks that never call ``model.eval()``; ``off``
                for passes that are no data: dry runs, summaries, sanity checks.

        Raises:
            ArgumentError: The mode is unknown.
        """
        return self._hooks.mode.said(mode)

    def retrack(self) -> None:
        """Look for the model's layers again, after some were replaced, added or taken away.

        :meth:`add_saturations` does so too. What was gathered of a layer that is no longer there is
        dropped; one in its place begins anew under its name.
        """
        self._check_open()
        self._layers.look_again()

    def untracked(self) -> contextlib.AbstractContextManager[None]:
        """Within ``with tracker.untracked():`` the model is without Delve's hooks.

        ``torch.jit.script(model)`` needs that, which would compile them too. Forward passes within
        are not recorded.
        """
        self._check_open()
        return self._hooks.lifted()

    def stop(self) -> None:
        """Record no forward passes until :meth:`resume`."""
        self._hooks.is_recording = False

    def resume(self) -> None:
        """Record forward passes again."""
        self._hooks.is_recording = True

    def is_recording(self) -> bool:
        """Whether forward passes are recorded: not while stopped, nor once closed."""
        return self._hooks.is_recording and not self._closed
