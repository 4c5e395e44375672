"""The plugins that come with Delve, and how to install one."""

from __future__ import annotations

OUR_PLUGINS = {
    "csv": "delve-csv",
    "mlflow": "delve-mlflow",
    "npy": "delve-npy",
    "plot": "delve-plot",
    "tensorboard": "delve-tensorboard",
    "wandb": "delve-wandb",
}


def how_to_install(name: str) -> str:
    """How to install the plugin of one of Delve's own writers: a sentence for a message.

    Args:
        name: The writer's name, one of ``OUR_PLUGINS``.
    """
    folder = f"delve_plugins/{OUR_PLUGINS[name]}"
    return (
        "Install the plugin from a checkout of Delve:\n"
        f"    pip install ./{folder}\n"
        "or from the git URL of the repository:\n"
        f'    pip install "git+URL#subdirectory={folder}"'
    )
