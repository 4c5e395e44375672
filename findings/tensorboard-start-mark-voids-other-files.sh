#!/usr/bin/env bash
# tensorboard 2.21.0
#
# A SessionLog START record in one event file voids, from its step on, the points that every other
# file of the same folder has given so far, whoever wrote them. A second writer that opens its file
# with such a record (as SummaryWriter(purge_step=...) does) in a folder where another one logs
# leaves that one's curve empty, though all its points are still on disk. Which points vanish depends
# on the names of the files alone, since that is the order in which they are read.
#
# Seen, for ten points of another writer, a START record of step 0 in a file whose name sorts behind,
# and one in a file whose name sorts before:
#   behind: 0 of 10 points
#   before: 10 of 10 points
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorboard==2.21.0 "setuptools<81"
cat > "$folder/look.py" <<'PYTHON'
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


def write(path, *events):
    with path.open("wb") as file:
        records = RecordWriter(file)
        for event in (Event(file_version="brain.Event:2"), *events):
            records.write(event.SerializeToString())


points = [
    Event(step=step, summary=Summary(value=[Summary.Value(tag="loss", simple_value=step)]))
    for step in range(10)
]
start = Event(step=0, session_log=SessionLog(status=SessionLog.START))
for place, stamp in (("behind", 30), ("before", 10)):
    folder = pathlib.Path(sys.argv[1], place)
    folder.mkdir()
    write(folder / "events.out.tfevents.0000000020.other", *points)
    write(folder / f"events.out.tfevents.00000000{stamp}.second", start)
    reader = EventAccumulator(str(folder))
    reader.Reload()
    held = len(reader.Scalars("loss")) if "loss" in reader.Tags()["scalars"] else 0
    print(f"{place}: {held} of 10 points")
PYTHON
seen=$("$folder/venv/bin/python" -W ignore "$folder/look.py" "$folder" 2> /dev/null)
echo "$seen"
test "$seen" = "behind: 0 of 10 points
before: 10 of 10 points"
