"""A W&B run of Delve's own: opened and finished within bounds, its faults told apart."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import wandb
from wandb import Run
from wandb.errors import AuthenticationError, CommError, UsageError

from delve.errors import WriterConfigurationError
from delve_wandb import service
from delve_wandb.options import Options
from delve_wandb.segments import segment_of

INIT_TIMEOUT = 5.0  # seconds; W&B's own default of 90 would hold the training up
FINISH_TIMEOUT = 8.0  # seconds; W&B's own default is to wait for ever
FLUSH_INTERVAL = 0.1  # seconds; W&B's own default is 15, which a kill would lose

# What a server answers where only the user can help, in W&B's own words.
_REFUSAL = re.compile(
    r"not logged in|permission denied|unauthori[sz]ed|forbidden|\b40[13]\b|api key|"
    r"(entity|team|user)\b.*not found",
    re.IGNORECASE,
)


class UnreachableError(Exception):
    """W&B's server does not answer; the writer is tried again."""


def open_run(options: Options, state: Mapping[str, Any], **how: Any) -> Run:
    """``wandb.init``, apart from any other run of the process unless ``reinit=None`` asks for it.

    Args:
        options: The user's options.
        state: What an earlier process remembered: the project is the same one unless the user
            names another.
        how: ``id``, ``resume``, ``resume_from``, ``config``, ``reinit``.

    Raises:
        WriterConfigurationError: Only the user can help.
        UnreachableError: The server did not answer in time.
        CommError: It refused for another reason.
    """
    _refuse_links(options.folder)
    # The query for the viewer only fills a message, and with a server that is dead costs 10 s.
    changes: dict[str, Any] = {"x_disable_viewer": True}
    if "resume_from" in how:
        changes["resume"] = None  # WANDB_RESUME would exclude it
    try:
        with _faults_told_apart(), service.adjusted_settings(**changes):
            project, entity = place(options, state)
            how.setdefault("reinit", "create_new")
            opened = wandb.init(
                project=project,
                entity=entity,
                dir=options.folder,
                name=options.name,
                group=options.group,
                tags=options.tags,
                settings=_settings(options),
                **how,
            )
    except Exception:
        service.restart()
        raise
    if how["reinit"]:
        service.keep_to_ourselves(opened)
    return opened


def _refuse_links(folder: Path) -> None:
    """W&B's client writes wherever a link in the place of its folder leads."""
    for path in (folder / "wandb", folder / ".wandb"):
        if path.is_symlink():
            raise WriterConfigurationError(
                f"writer 'wandb': {path} is a link, and Delve has nothing written behind links; "
                "replace it by a folder, or name another savefile"
            )


def finish_run(run: Run, exit_code: int = 0) -> None:
    """End a run, and say where its data is if W&B did not take all of it in time."""
    if service.is_finished(run):
        return
    try:
        run.finish(exit_code)
        if run.offline:
            segment_of(run).wait_for_end()
    except TimeoutError as error:
        folder = Path(run.dir).parent
        raise TimeoutError(
            f"W&B did not take all data of run {run.id} in time; it is in {folder}: upload it "
            f"with `wandb sync --include-online {folder}`, or resume the run"
        ) from error
    except Exception as error:
        if service.has_died(error):
            _let_go(run, exit_code)
        raise


def _let_go(run: Run, exit_code: int) -> None:
    """Have a run whose service has died give the console back and end its threads.

    W&B's ``finish()`` begins with a message to the service that says it was called, and goes no
    further where that fails. Without that message it tidies up before it fails.
    """
    if hasattr(run, "_telemetry_obj_active"):
        run._telemetry_obj_active = False
        with suppress(Exception):
            run.finish(exit_code)


def is_offline(options: Options) -> bool:
    """Whether a run would be opened without asking a server."""
    return (options.mode or service.users_settings().mode) in ("offline", "dryrun")


def users_run(options: Options) -> Run | None:
    """The run that the user has named, else the active one.

    Raises:
        WriterConfigurationError: The one that was named has been finished.
    """
    named: Run | None = options.run
    if named is not None and service.is_finished(named):
        raise WriterConfigurationError(
            f"writer 'wandb': W&B run {named.id}, which was given as run=, has been finished, and "
            "takes nothing more; give the one that wandb.init() returned last"
        )
    return wandb.run if named is None else named


def is_disabled(options: Options) -> bool:
    """Whether the user wants nothing of W&B."""
    mine = users_run(options)
    if mine is not None and (options.run is not None or mine.disabled):
        return bool(mine.disabled)
    if options.mode:
        return options.mode == "disabled"
    # W&B no longer knows the variable; Transformers and others do.
    switched_off = os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes", "on")
    return switched_off or service.users_settings().mode == "disabled"


def address() -> str:
    """The server in force, without user and password."""
    parts = urlsplit(service.users_settings().base_url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def place(options: Options, state: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Project and entity of a run: W&B's default project depends on the script's folder."""
    settings = service.users_settings()
    earlier = state if state.get("address") == address() else {}
    return (
        options.project or settings.project or earlier.get("project"),
        options.entity or settings.entity or earlier.get("entity"),
    )


def _settings(options: Options) -> wandb.Settings:
    inherited = service.users_settings()
    ours: dict[str, Any] = {
        "init_timeout": INIT_TIMEOUT,
        "finish_timeout": FINISH_TIMEOUT,
        "finish_timeout_raises": True,
        "x_transaction_log_flush_interval": FLUSH_INTERVAL,
    }
    chosen = {
        name: value
        for name, value in ours.items()
        if name in type(inherited).model_fields and name not in inherited.model_fields_set
    }
    if options.mode:
        chosen["mode"] = options.mode
    if options.init_timeout:
        chosen["init_timeout"] = options.init_timeout
    return wandb.Settings(**chosen)


@contextmanager
def _faults_told_apart() -> Iterator[None]:
    try:
        yield
    except (UsageError, AuthenticationError) as error:
        raise _users_mistake(error) from error
    except CommError as error:
        if _REFUSAL.search(str(error)):
            raise _users_mistake(error) from error
        if str(error).startswith("Timed out"):
            reason = str(error).splitlines()[0]
            raise UnreachableError(
                f"W&B at {address()} did not answer in time ({reason}); a longer init_timeout "
                "waits longer, WANDB_MODE=offline needs no server"
            ) from error
        raise


def _users_mistake(error: Exception) -> WriterConfigurationError:
    return WriterConfigurationError(
        f"writer 'wandb': W&B at {address()} refuses: {error} Check `wandb login`, WANDB_API_KEY, "
        "WANDB_BASE_URL, entity and project, or set WANDB_MODE=offline"
    )
