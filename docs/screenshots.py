"""Take the pictures of the pages: the quickstart's run in MLflow and TensorBoard, and a plot.

    python docs/screenshots.py [FOLDER]

Needs headless Chromium (Debian's package ``chromium``), and the MLflow, TensorBoard and plot
plugins. It runs the quickstart in a temporary folder, sends its run to TensorBoard too, both with
figures, starts both servers on the loopback interface, and writes ``mlflow.png``,
``mlflow-overview.png``, ``mlflow-artifacts.png``, ``tensorboard.png`` and ``heatmap.png``.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

from PIL import Image

from delve import load

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
ENOUGH_BLUE = 700  # pixels

Picture = tuple[str, str, tuple[int, int, int, int]]  # place, name, what is cut out

MLFLOW: tuple[Picture, ...] = (
    ("/model-metrics", "mlflow.png", (198, 0, 1275, 640)),
    ("", "mlflow-overview.png", (198, 0, 1275, 790)),
    ("/artifacts/delve/saturation.png", "mlflow-artifacts.png", (198, 0, 1275, 570)),
)
TENSORBOARD: tuple[Picture, ...] = (("/#custom_scalars", "tensorboard.png", (0, 0, 1000, 470)),)


def find_chromium() -> str | None:
    """The path of a Chromium, if one is installed."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def take(chromium: str, folder: Path) -> list[Path]:
    """Record a run and photograph it; returns the pictures."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        run = [sys.executable, ROOT / "examples" / "quickstart.py"]
        subprocess.run(run, cwd=work, check=True, capture_output=True)
        for writer in ("mlflow", "tensorboard"):
            delve(work, "export", "runs/quickstart", "--to", writer, "--set", "figures=true")
        delve(work, "plot", "runs/quickstart", "--out", "plots")
        with serving(
            work, "mlflow", "server", "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"
        ) as address:
            page = f"{address}{urlparse(mlflow_page(work))._replace(scheme='', netloc='').geturl()}"
            for place, picture, part in MLFLOW:
                photograph(chromium, page + place, folder / picture, work, (1720, 1000), part)
        with serving(
            work, "tensorboard.main", "--logdir", "runs/quickstart/tensorboard"
        ) as address:
            for place, picture, part in TENSORBOARD:
                photograph(chromium, address + place, folder / picture, work, (1000, 700), part)
        (plot,) = (work / "plots").glob("*train-saturation-heatmap.png")
        with Image.open(plot) as image:
            image.convert("RGB").quantize(4 * COLOURS).save(folder / "heatmap.png", optimize=True)
    names = [picture for _, picture, _ in (*MLFLOW, *TENSORBOARD)]
    return [folder / name for name in (*names, "heatmap.png")]


def delve(work: Path, *arguments: str) -> None:
    """Call the command."""
    command = [sys.executable, "-m", "delve", *arguments]
    subprocess.run(command, cwd=work, check=True, capture_output=True)


def mlflow_page(work: Path) -> str:
    """The address of the quickstart's run in MLflow."""
    return load(work / "runs/quickstart").pages["mlflow"].url


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
    """Whether there is enough of the blues in which the pages draw."""
    found = sum(
        count
        for count, colour in image.getcolors(1 << 24) or []
        if isinstance(colour, tuple) and colour[2] > 140 and colour[0] < 70 and colour[1] < 140
    )
    return found > ENOUGH_BLUE


def main() -> int:
    """Take all pictures; returns the exit status."""
    chromium = find_chromium()
    if chromium is None:
        print(f"none of {', '.join(CHROMIUM)} is installed", file=sys.stderr)
        return 1
    for picture in take(chromium, Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "images"):
        print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
