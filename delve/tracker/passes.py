"""Which forward passes count, of which layers, and as what."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

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

    def mask(self, mask: Any) -> contextlib.AbstractContextManager[None]:
        """Within ``with tracker.mask(attention_mask):`` say which positions of a batch are real.

        Padding then gives no samples: ``last_timestep`` takes the last real step of each sequence,
        ``first`` the first, ``mean`` the mean of the real ones, and ``timestepwise`` each of them.
        The mask holds for outputs of (batch x time x ...) whose first two dimensions are its own,
        whether the padding is on the left or on the right; others, as of (batch x features), are
        taken whole. It goes before any that a call of the model is given (``mask="auto"`` of
        :class:`~delve.SaturationTracker`). Packed and nested sequences hold no padding: it changes
        nothing in them.

        Where a linear layer returns (time x batch x features), that is seen by the shape, unless
        both lengths are the same.

        Args:
            mask: (batch x time), a tensor or array: True or 1 where a position is real, as a
                tokenizer's ``attention_mask``; None: none at all, not even one of a call.

        Raises:
            ArgumentError: It is no such mask, or it has a sequence without a real position. At the
                end of the block: no series that came was of its shape. Then nothing of the block
                was recorded.

        Example::

            with tracker.mask(lengths[:, None] > torch.arange(batch.shape[1])):
                model(batch)
        """
        return self._hooks.masks.said(mask)

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
