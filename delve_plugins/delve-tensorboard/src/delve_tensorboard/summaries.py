"""What TensorBoard shows, as its own messages: scalars, histograms, images, layout, settings."""

from __future__ import annotations

import functools
import math
import re
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text import metadata as text_metadata

from delve_tensorboard.framing import frame

WRITER = "delve_tensorboard"  # what Delve's own files say of who wrote them

_PNG_SIZE = slice(16, 24)  # width and height in the header
_RGBA = 4
_LARGEST_INTEGER = 2**53  # TensorBoard keeps numbers as float64


def header() -> bytes:
    """The record that begins a file."""
    version = Event(
        wall_time=time.time(),
        file_version="brain.Event:2",
        source_metadata=SourceMetadata(writer=WRITER),
    )
    return frame(version.SerializeToString())


def start_mark(first_epoch: int) -> bytes:
    """The record that voids what came before in its run, of whatever file, from an epoch on.

    TensorBoard ignores the first such mark of a run, so a run's first file needs one too.
    """
    log = SessionLog(status=SessionLog.START)
    return frame(
        Event(wall_time=time.time(), step=first_epoch, session_log=log).SerializeToString()
    )


def record(values: Iterable[Any], epoch: int, timestamp: int) -> bytes:
    """All values of one epoch as one record; ``timestamp`` is in milliseconds."""
    event = Event(step=epoch, wall_time=timestamp / 1000, summary=Summary(value=values))
    return frame(event.SerializeToString())


def is_number(value: Any) -> bool:
    """Whether a value is a number, as the records of epochs hold them."""
    return bool(value.WhichOneof("value") == "simple_value")


def histogram(tag: str, values: np.ndarray) -> Any:
    """The distribution of the finite values, in 30 bins."""
    return histogram_pb(as_text(tag), values[np.isfinite(values)]).value[0]


def image(tag: str, png: bytes) -> Any:
    """A figure."""
    width, height = struct.unpack(">II", png[_PNG_SIZE])
    image = Summary.Image(width=width, height=height, colorspace=_RGBA, encoded_image_string=png)
    return Summary.Value(tag=tag, image=image)


def text(tag: str, markdown: str) -> Any:
    """Text, as the Text page shows it."""
    return Summary.Value(
        tag=tag,
        metadata=text_metadata.create_summary_metadata(display_name="", description=""),
        tensor=TensorProto(
            dtype="DT_STRING",
            string_val=[as_text(markdown).encode()],
            tensor_shape=TensorShapeProto(),
        ),
    )


def layout(stats: Sequence[str]) -> Any:
    """The Custom Scalars page: for each statistic one chart with all layers."""
    charts = [
        layout_pb2.Chart(
            title=stat, multiline=layout_pb2.MultilineChartContent(tag=[f"{re.escape(stat)}/"])
        )
        for stat in stats
    ]
    page = layout_pb2.Layout(category=[layout_pb2.Category(title="all layers", chart=charts)])
    return Summary.Value(
        tag=layout_metadata.CONFIG_SUMMARY_TAG,
        metadata=layout_metadata.create_summary_metadata(),
        tensor=TensorProto(
            dtype="DT_STRING",
            string_val=[page.SerializeToString()],
            tensor_shape=TensorShapeProto(),
        ),
    )


def hyperparameters(config: Mapping[str, Any], trial: str, created: int) -> bytes:
    """The record that puts the run into the HParams page, as the row ``trial``."""
    flat = dict(_flat(config))
    summary = hparams_pb(flat, trial_id=as_text(trial), start_time_secs=created / 1000)
    return record(summary.value, 0, created)


def end_of_run(failed: bool, timestamp: int) -> bytes:
    """The record that gives the run's row in the HParams page its status."""
    status = "STATUS_FAILURE" if failed else "STATUS_SUCCESS"
    info = SessionEndInfo(status=status, end_time_secs=timestamp / 1000)
    value = Summary.Value(
        tag=hparams_metadata.SESSION_END_INFO_TAG,
        metadata=hparams_metadata.create_summary_metadata(HParamsPluginData(session_end_info=info)),
        tensor=hparams_metadata.NULL_TENSOR,
    )
    return record([value], 0, timestamp)


def is_about_the_run(event: Any) -> bool:
    """Whether the event holds hyperparameters or the status, and no epoch."""
    values = event.summary.value
    if not values or not values[0].HasField("metadata"):  # as nearly all
        return False
    return bool(values[0].metadata.plugin_data.plugin_name == hparams_metadata.PLUGIN_NAME)


def epoch_of(event: Any) -> int | None:
    """The epoch whose row an event says that it is, where its step is a training step."""
    name, _, epoch = event.source_metadata.writer.partition(" ")
    is_said = name == WRITER and epoch.isascii() and epoch.isdecimal()
    return int(epoch) if is_said else None


def is_reserved(tag: str) -> bool:
    """Whether TensorBoard takes whatever has this tag for the settings of one of its pages.

    A number there ends that page, and in one of its servers the curves of all runs.
    """
    return tag in (
        layout_metadata.CONFIG_SUMMARY_TAG,
        hparams_metadata.EXPERIMENT_TAG,
        hparams_metadata.SESSION_START_INFO_TAG,
        hparams_metadata.SESSION_END_INFO_TAG,
    )


@functools.lru_cache(2**14)  # the same come with every epoch
def as_text(name: str) -> str:
    """A name without the surrogates that a protocol buffer refuses."""
    return name.encode(errors="backslashreplace").decode()


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested keys joined by dots, and values of the types that the HParams page knows."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield as_text(f"{prefix}{key}"), _hyperparameter(value)


def _hyperparameter(value: Any) -> bool | int | float | str:
    if getattr(value, "ndim", None) == 0:  # a number of NumPy's or PyTorch's
        value = value.item()
    match value:
        case bool():
            return value
        case int() if abs(value) <= _LARGEST_INTEGER:
            return value
        case float() if math.isfinite(value):  # the page fails on others
            return value
        case _:
            return as_text(str(value))
