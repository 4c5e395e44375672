"""What the writer needs beside itself: W&B, and delve-plot for figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from delve.errors import WriterConfigurationError
from delve.writers import how_to_install

if TYPE_CHECKING:
    from delve_wandb.figures import Figures


def check_wandb() -> None:
    """See that W&B is there, and new enough.

    Raises:
        WriterConfigurationError: It is not.
    """
    try:
        import wandb
    except ImportError as error:
        raise WriterConfigurationError(
            f"writer 'wandb': wandb cannot be imported ({error}); reinstall it"
        ) from error
    settings = getattr(wandb, "Settings", None)
    if "finish_timeout" not in getattr(settings, "model_fields", {}):
        # Where the package is missing, a folder ./wandb, which W&B itself makes, is imported.
        found = getattr(wandb, "__version__", "only a folder of that name")
        raise WriterConfigurationError(
            f"writer 'wandb': wandb 0.28 or newer is needed, and {found} is here; install it anew"
        )


def make_figures() -> Figures:
    """What draws figures.

    Raises:
        WriterConfigurationError: The plugin delve-plot is not there.
    """
    try:
        from delve_wandb.figures import Figures
    except ImportError as error:
        raise WriterConfigurationError(
            f"writer 'wandb': figures=True needs the plugin delve-plot ({error}). "
            f"{how_to_install('plot')}"
        ) from error
    return Figures()
