"""A correct writer, and copies of it that each break one promise of the contract."""

import json
import math
import time
from pathlib import Path

import numpy as np

from delve import HeldEpoch


class JsonWriter:
    """Holds a run as one JSON file: points (epoch, name, value), and arrays likewise."""

    def __init__(self, savepath):
        self.path = Path(savepath) / "points.json"
        self.points = []
        self.row = {}
        self.closed = False

    def start(self):
        self.points, self.row = [], {}
        self.write()

    def resume_from_saved_state(self, initial_epoch, run):
        held = read_points(self.path.parent) if self.path.exists() else []
        self.points, self.row = [point for point in held if point[0] < initial_epoch], {}
        self.write()
        return run.first_lacking({epoch for epoch, *_ in self.points})

    def add_scalar(self, name, value, epoch):
        self.row[name] = value

    def add_scalars(self, value_dict, global_step):
        self.row.update(value_dict)

    def add_array(self, name, value, epoch):
        self.row[name] = value.tolist()

    def save(self, epoch):
        others = [point for point in self.points if point[0] != epoch]
        self.points = others + [(epoch, name, value) for name, value in self.row.items()]
        self.row = {}
        self.write()

    def held_epochs(self, run):
        rows = {}
        for epoch, name, value in read_points(self.path.parent) if self.path.exists() else []:
            rows.setdefault(epoch, {})[name] = value
        return [HeldEpoch(epoch, row) for epoch, row in rows.items()]

    def close(self):
        self.closed = True

    def write(self):
        self.path.write_text(json.dumps(self.points))


def read_points(folder):
    """All points that the file holds."""
    return [tuple(point) for point in json.loads((folder / "points.json").read_text())]


def read_scalars(folder):
    return [point for point in read_points(folder) if not isinstance(point[2], list)]


def read_arrays(folder):
    points = read_points(folder)
    return [(e, name, np.array(value)) for e, name, value in points if isinstance(value, list)]


class DropsAnEpoch(JsonWriter):
    def save(self, epoch):
        if epoch != 1:
            super().save(epoch)


class DuplicatesAfterResume(JsonWriter):
    def resume_from_saved_state(self, initial_epoch, run):
        super().resume_from_saved_state(initial_epoch, run)
        return 0  # all is fed again

    def save(self, epoch):
        self.points += [(epoch, name, value) for name, value in self.row.items()]
        self.row = {}
        self.write()


class KeepsVoidEpochs(JsonWriter):
    def resume_from_saved_state(self, initial_epoch, run):
        self.points = read_points(self.path.parent) if self.path.exists() else []
        return run.first_lacking({epoch for epoch, *_ in self.points})


class DropsEverythingOnResume(JsonWriter):
    def resume_from_saved_state(self, initial_epoch):
        self.start()


class AnswersThatNothingLacks(JsonWriter):
    def resume_from_saved_state(self, initial_epoch, run):
        super().resume_from_saved_state(initial_epoch, run)
        return initial_epoch


class AnswersTheNextEpoch(JsonWriter):
    def resume_from_saved_state(self, initial_epoch, run):
        return super().resume_from_saved_state(initial_epoch, run) + 1


class KeepsTheOldRun(JsonWriter):
    def start(self):
        self.points = read_points(self.path.parent) if self.path.exists() else []
        self.write()


class SwallowsNaN(JsonWriter):
    def add_scalar(self, name, value, epoch):
        if not math.isnan(value):
            super().add_scalar(name, value, epoch)


class RemembersMoreThanItHolds(JsonWriter):
    def write(self):
        if self.closed:
            super().write()

    def save(self, epoch, run):
        super().save(epoch)
        run.remember(saved=epoch + 1)

    def resume_from_saved_state(self, initial_epoch, run):
        super().resume_from_saved_state(initial_epoch, run)
        return min(run.state.get("saved", 0), initial_epoch)

    def close(self):
        super().close()
        self.write()


class ClipsInfinities(JsonWriter):
    def add_scalar(self, name, value, epoch):
        super().add_scalar(name, clipped(value), epoch)


def clipped(value):
    return value if math.isnan(value) else max(-1e300, min(value, 1e300))


class WritesInTheConstructor(JsonWriter):
    def __init__(self, savepath):
        super().__init__(savepath)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()


class PrintsInTheConstructor(JsonWriter):
    def __init__(self, savepath):
        super().__init__(savepath)
        print("writing to", savepath)


class SleepsInTheConstructor(JsonWriter):
    def __init__(self, savepath):
        super().__init__(savepath)
        time.sleep(0.11)


class MergesNames(JsonWriter):
    def add_scalar(self, name, value, epoch):
        super().add_scalar(name.replace("/", "_").replace(" ", "_"), value, epoch)


class CutsLongLayerNames(JsonWriter):
    def add_scalars(self, value_dict, global_step):
        self.row.update({name[:250]: value for name, value in value_dict.items()})


class RenamesFromEpochToEpoch(JsonWriter):
    def add_scalar(self, name, value, epoch):
        super().add_scalar(name if name.isidentifier() else f"{name} {epoch}", value, epoch)


class WritesWhereNamesLead(JsonWriter):
    def add_scalar(self, name, value, epoch):
        super().add_scalar(name, value, epoch)
        if name.startswith("../../"):
            (self.path.parent / name).write_text(str(value))


class OverwritesTheJournal(JsonWriter):
    def add_scalar(self, name, value, epoch):
        super().add_scalar(name, value, epoch)
        if name == "journal.jsonl":
            (self.path.parent / name).write_text("{}\n")


class RefusesEpochsWithoutValues(JsonWriter):
    def save(self, epoch):
        if not self.row:
            raise ValueError("nothing to save")
        super().save(epoch)


class HoldsTheFirstValue(JsonWriter):
    def add_scalar(self, name, value, epoch):
        self.row.setdefault(name, value)


class FillsGaps(JsonWriter):
    def save(self, epoch):
        last = {name: value for _, name, value in self.points}
        self.row = {**last, **self.row}
        super().save(epoch)


class HalvesThePrecision(JsonWriter):
    def add_array(self, name, value, epoch):
        super().add_array(name, value.astype(np.float16), epoch)


class KeepsVoidArrays(JsonWriter):
    def resume_from_saved_state(self, initial_epoch, run):
        held = read_points(self.path.parent) if self.path.exists() else []
        answer = super().resume_from_saved_state(initial_epoch, run)
        self.points += [p for p in held if p[0] >= initial_epoch and isinstance(p[2], list)]
        self.write()
        return answer


class AppendsWhatComesAgain(DuplicatesAfterResume):
    resume_from_saved_state = JsonWriter.resume_from_saved_state


class StartsOnlyOnce(JsonWriter):
    def start(self):
        if self.path.exists():
            raise FileExistsError(self.path)
        super().start()


class ResumesOnlyOnce(JsonWriter):
    def resume_from_saved_state(self, initial_epoch, run):
        if self.points:
            raise RuntimeError("resumed already")
        return super().resume_from_saved_state(initial_epoch, run)


class ClosesOnlyOnce(JsonWriter):
    def close(self):
        if self.closed:
            raise ValueError("closed already")
        super().close()


class ClosesOnlyWhatWasStarted(JsonWriter):
    def start(self):
        super().start()
        self.started = True

    def close(self):
        del self.started


class SavesInClose(JsonWriter):
    def close(self):
        if self.row:
            self.save(99)


class TakesAnUnknownArgument(JsonWriter):
    def save(self, epoch, tick):
        super().save(epoch)


class MisspellsAHook(JsonWriter):
    def add_scalers(self, value_dict):
        super().add_scalars(value_dict, 0)


class ReadsBackHalf(JsonWriter):
    def held_epochs(self, run):
        return super().held_epochs(run)[::2]


class ReadsBackAfterAStart(JsonWriter):
    def held_epochs(self, run):
        return super().held_epochs(run) if self.points or run.state else []


class TidiesUpWhileReading(JsonWriter):
    def held_epochs(self, run):
        held = super().held_epochs(run)
        self.path.write_text(self.path.read_text() + "\n")
        return held
