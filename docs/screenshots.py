"""Take the pictures of README.md: the quickstart's run in MLflow's page and in TensorBoard's.

    python docs/screenshots.py [FOLDER]

Needs headless Chromium (Debian's package ``chromium``) and the MLflow and TensorBoard plugins. It
runs the quickstart in a temporary folder, sends its run to TensorBoard too, starts both servers on
the loopback interface, and writes ``mlflow.png`` and ``tensorboard.png``.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
COLOURS = 64  # keeps a picture small
START_TIMEOUT = 120  # seconds
ATTEMPTS = 4
ENOUGH_BLUE = 900  # pixels


def find_chromium() -> str | None:
    """The path of a Chromium, if one is installed."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def take(chromium: str, folder: Path) -> list[Path]:
    """Record a run and photograph it; returns the pictures."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [folder / "mlflow.png", folder / "tensorboard.png"]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        run = [sys.executable, ROOT / "examples" / "quickstart.py"]
        subprocess.run(run, cwd=work, check=True, capture_output=True)
        export = [sys.executable, "-m", "delve", "export", "runs/quickstart"]
        subprocess.run([*export, "--to", "tensorboard"], cwd=work, check=True, capture_output=True)
        with serving(
            work, "mlflow", "server", "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"
        ) as address:
            page = f"{address}/#/experiments/0/runs/{mlflow_run(work)}/model-metrics"
            photograph(chromium, page, pictures[0], work, (1720, 900), (198, 0, 1275, 640))
        with serving(
            work, "tensorboard.main", "--logdir", "runs/quickstart/tensorboard"
        ) as address:
            page = f"{address}/#custom_scalars"
            photograph(chromium, page, pictures[1], work, (1000, 700), (0, 0, 1000, 470))
    return pictures


def mlflow_run(work: Path) -> str:
    """The id of the quickstart's run in MLflow, from its journal."""
    entries = map(json.loads, (work / "runs/quickstart/journal.jsonl").read_text().splitlines())
    ids = [
        e["state"]["run_id"] for e in entries if e["type"] == "state" and e["writer"] == "mlflow"
    ]
    return str(ids[-1])


@contextlib.contextmanager
def serving(work: Path, module: str, *arguments: str) -> Iterator[str]:
    """Run a server of this environment on a free port; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", module, *arguments, "--host", "127.0.0.1", "--port", str(port)]
    with (work / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=work, stdout=log, stderr=log, process_group=0)
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not answers(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((work / "server.log").read_text()[-2000:])
            time.sleep(0.3)
        yield address
    finally:
        subprocess.run(["kill", "--", f"-{server.pid}"], check=False)
        server.wait()


def answers(address: str) -> bool:
    """Whether a server is there."""
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except OSError:
        return False


def photograph(
    chromium: str,
    page: str,
    picture: Path,
    work: Path,
    size: tuple[int, int],
    part: tuple[int, int, int, int],
) -> None:
    """Photograph a page, cut out a part (left, upper, right, lower), and keep the file small.

    A page that has not drawn its curves yet is photographed again.
    """
    options = [
        f"--user-data-dir={work / 'profile'}",
        f"--window-size={size[0]},{size[1]}",
        "--virtual-time-budget=30000",
        f"--screenshot={picture}",
    ]
    for _ in range(ATTEMPTS):
        command = [chromium, *QUIET, *options, page]
        subprocess.run(command, check=True, capture_output=True, timeout=150)
        with Image.open(picture) as image:
            cut = image.convert("RGB").crop(part)
        cut.quantize(COLOURS).save(picture, optimize=True)
        if shows_curves(cut):
            return


def shows_curves(image: Image.Image) -> bool:
    """Whether there is enough of the blue in which both pages draw."""
    found = sum(
        count
        for count, colour in image.getcolors(1 << 24) or []
        if isinstance(colour, tuple) and colour[2] > 140 and colour[0] < 70 and colour[1] < 140
    )
    return found > ENOUGH_BLUE


def main() -> int:
    """Take both pictures; returns the exit status."""
    chromium = find_chromium()
    if chromium is None:
        print(f"none of {', '.join(CHROMIUM)} is installed", file=sys.stderr)
        return 1
    for picture in take(chromium, Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "images"):
        print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
