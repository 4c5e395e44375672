"""What a forward pass leaves: which layers are tracked, their outputs as samples, the hooks.

Public is what stands here: ``samples`` is a :func:`functools.singledispatch` function with which
other types of layers are registered.
"""

from delve.capture.activations import samples

__all__ = ["samples"]
