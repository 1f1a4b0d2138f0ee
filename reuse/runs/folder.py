"""The run folder: what one training leaves behind.

run.json             what was trained on what: enough to rebuild the model and to predict
settings.toml        the resolved settings; `--config` replays them
history.jsonl        one line an epoch
weights.safetensors  the best weights, under the model's own names
frozen.safetensors   those of what stayed frozen, where it is much: one copy for all runs that hold the same
tokenizer/           that of a model of transformers
result.json          what the command printed with --json
checkpoint/          what going on needs
snapshots/           the weights of some epochs, where they are wanted
tensorboard/         events for TensorBoard, where they are wanted
pictures/            what there is to see of a pretraining on images
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w

from reuse.data.catalogue import NAMED
from reuse.data.tokenizers import keep_tokenizer
from reuse.distributed import is_main
from reuse.errors import RunError, UsageError
from reuse.files import read_text
from reuse.paths import from_home
from reuse.runs.claiming import claimed, in_training, is_claimed, make_unused
from reuse.runs.disk import saving
from reuse.runs.manifest import Manifest
from reuse.runs.record_files import json_text, read_json, read_toml, write_text
from reuse.runs.result_schema import check_result
from reuse.runs.schema import check_line
from reuse.settings.commands import FinetuneSettings, PretrainSettings, TrainedSettings
from reuse.settings.files import ARRAYS, checked_settings, without_infinities
from reuse.settings.setting import settings_of
from reuse.version import __version__

FORMAT = 1
MANIFEST, SETTINGS, HISTORY = "run.json", "settings.toml", "history.jsonl"
TOKENIZER = "tokenizer"
FIRST = {"checkpoint", SETTINGS, TOKENIZER, MANIFEST}  # what a run writes first; the last of these is its first record
WEIGHTS, RESULT = "weights.safetensors", "result.json"
MOST_SHOWN = 40  # characters of what a damaged record says
PATHS = ("data", "source", "embeddings")  # settings that may be paths


@dataclass(frozen=True)
class RunFolder:
    """One run on disk. Where several processes train together, the first one writes and all read."""

    path: Path

    @classmethod
    def create(cls, kind: str, out: str | Path | None = None) -> "RunFolder":
        """Make an empty run folder.

        Args:
            kind: "pretrain" or "finetune", the first part of its name under `runs`.
            out: the folder to use instead; it must be new or empty.

        Raises:
            UsageError: `out` is in use, or no folder can be made there or under `runs`.
        """
        if out is None:
            return cls(make_unused(Path("runs"), kind))
        path = from_home(out)
        if path.is_dir() and is_claimed(path):
            raise UsageError(in_training(path, begins=True))
        if path.is_dir() and not (path / MANIFEST).exists() and _began(path):
            raise UsageError(
                f"{path} is of a run that ended before its first record: remove that folder, or give another --out"
            )
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(_in_use(path))
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"no run folder can be made at {path}: {error.strerror}") from error
        return cls(path)

    @classmethod
    def begin(cls, kind: str, out: str | Path | None, held: ExitStack) -> "RunFolder":
        """Make an empty run folder, in which nobody else trains until `held` is left.

        Raises:
            UsageError: as `create`, or another process has begun there at the same time.
        """
        run = cls.create(kind, out)
        held.enter_context(claimed(run.path, begins=True))
        if not run.path.is_dir() or any(run.path.iterdir()):
            raise UsageError(_in_use(run.path))
        return run

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Return the run at `path` after checking that it is one.

        Raises:
            RunError: it is missing, damaged, or of another version.
        """
        run = cls(from_home(path))
        run.manifest()
        return run

    def discard(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path)

    def manifest(self) -> Manifest:
        """Return the contents of run.json.

        Raises:
            RunError: it is missing, damaged, or of another version.
        """
        if not self.path.is_dir():
            raise RunError(f"{self.path} is no run folder: there is no such folder")
        if not (self.path / MANIFEST).exists() and _began(self.path):
            if is_claimed(self.path):
                raise RunError(in_training(self.path))
            raise RunError(
                f"{self.path} is of a run that ended before its first record, and there is nothing to go on with: "
                "remove that folder and begin the run anew, or give another --out"
            )
        values = read_json(self.path / MANIFEST)
        if values.get("format") != FORMAT:
            raise RunError(
                f"{self.path} was written in format {_short(values.get('format'))} "
                f"(reuse {_short(values.get('reuse'))}); this version reads format {FORMAT}: train it again, or use "
                "that version"
            )
        manifest = Manifest.read(values, self.path / MANIFEST)
        return self._with_tokenizer(manifest, str(self.path / TOKENIZER))

    def write_manifest(self, manifest: Manifest) -> None:
        """Write run.json, as a whole or not at all; its date is that of the first time."""
        created = manifest.created or datetime.now(UTC).isoformat(timespec="microseconds")
        if manifest.preprocessing is not None and manifest.preprocessing.tokenizer is not None and is_main():
            with saving(self.path / TOKENIZER):
                keep_tokenizer(manifest.preprocessing.tokenizer, self.path / TOKENIZER)
        manifest = self._with_tokenizer(manifest, TOKENIZER)
        manifest = replace(manifest, folder=manifest.folder or str(Path.cwd()))
        about = {"format": FORMAT, "reuse": manifest.version or __version__, "created": created}
        write_text(self.path / MANIFEST, json_text({**about, **manifest.to_dict()}))

    def _with_tokenizer(self, manifest: Manifest, place: str) -> Manifest:
        """Return a manifest that says where the run keeps the model's tokenizer, where there is one."""
        fitted = manifest.preprocessing
        if fitted is None or fitted.tokenizer is None:
            return manifest
        return replace(manifest, preprocessing=replace(fitted, tokenizer=place))

    def settings(self) -> TrainedSettings:
        """Return the resolved settings of the run; what the file does not name has its default.

        Relative paths of data, source and word vectors that lead somewhere from where the run began lead there from
        anywhere.

        Raises:
            RunError: settings.toml is missing or damaged.
        """
        values = self._read_settings()
        kind = PretrainSettings if values.pop("command") == "pretrain" or "objective" in values else FinetuneSettings
        known = settings_of(kind).keys() - {"trust"}  # nobody's folder allows its own code to run
        began = Path(self.manifest().folder or Path.cwd())
        values = {name: _from(began, value) if name in PATHS else value for name, value in values.items()}
        values = {name: value for name, value in values.items() if name in known}
        try:
            return kind(**checked_settings(kind, values, self.path / SETTINGS))
        except UsageError as error:
            raise RunError(f"{error}; the file is damaged: restore it or train again") from error

    def command(self) -> str:
        """Return the command whose settings these are: `pretrain`, `finetune`, `sweep` or `soup`."""
        return str(self._read_settings()["command"])

    def write_settings(self, command: str, settings: Mapping[str, Any]) -> None:
        """Write settings.toml; None is left out, as TOML has no null, and trust, which is given anew each time.

        The command comes last, so that a file that was cut off is known by its absence: part of TOML is TOML too.

        Args:
            command: whose settings they are.
            settings: plain values (see `reuse.settings.files.plain_settings`).
        """
        given = {name: value for name, value in settings.items() if value is not None and name != "trust"}
        write_text(self.path / SETTINGS, tomli_w.dumps({**given, "command": command}))

    def _read_settings(self) -> dict[str, Any]:
        values = read_toml(self.path / SETTINGS)
        if "command" not in values:
            raise RunError(f"{self.path / SETTINGS} is damaged: it does not end by naming its command; train again")
        return values

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json."""
        write_text(self.path / RESULT, json_text(result))

    def result(self) -> dict[str, Any] | None:
        """Return what the run came to, or None while it is not finished.

        Raises:
            RunError: it is damaged, or run.json is.
        """
        path = self.path / RESULT
        if not path.exists():
            return None
        values, manifest = read_json(path), self.manifest()
        try:
            check_result(values, manifest.kind, manifest.task)
        except ValueError as error:
            raise RunError(f"{path} is damaged ({error}): restore it or train again") from error
        return values

    def append_history(self, line: Mapping[str, Any]) -> None:
        """Add one epoch to history.jsonl."""
        if is_main():
            path = self.path / HISTORY
            with saving(path), path.open("a") as file:
                file.write(json.dumps(without_infinities(line)) + "\n")

    def history(self) -> list[dict[str, Any]]:
        """Return the epochs so far; a last line that a kill cut short is left out.

        Raises:
            RunError: a whole line is damaged.
        """
        path = self.path / HISTORY
        try:
            lines = read_text(path).split("\n")[:-1] if path.exists() else []
            found, epoch = [json.loads(line) for line in lines], 0
            for line in found:
                epoch = check_line(line, epoch)
            return found
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path} is damaged: {error}; restore it or train again") from error

    def truncate_history(self, epoch: int) -> None:
        """Forget the epochs after `epoch`, which will be trained again."""
        kept = [json.dumps(line) + "\n" for line in self.history() if line["epoch"] <= epoch]
        write_text(self.path / HISTORY, "".join(kept))


def _from(folder: Path, value: Any) -> Any:
    """Return a relative path as one from a folder, where it leads somewhere and the folder is not this one."""
    if not isinstance(value, str) or value in (*NAMED, ARRAYS) or folder == Path.cwd() or Path(value).is_absolute():
        return value
    return str(folder / value) if (folder / value).exists() else value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def _began(path: Path) -> bool:
    """Return whether a folder holds nothing but what a run writes before its first record."""
    names = {entry.name.removesuffix(".draft").lstrip(".") for entry in path.iterdir()}
    return bool(names) and names <= FIRST


def newest_run(kind: str, root: Path = Path("runs")) -> RunFolder | None:
    """Return the finished run of `kind` under `root` that was begun last, or None."""
    found: list[tuple[str, Path]] = []
    for path in root.iterdir() if root.is_dir() else ():
        if (path / MANIFEST).exists() and (path / RESULT).exists():
            try:
                manifest = RunFolder(path).manifest()
            except RunError:
                continue  # of another version or damaged: naming it says so
            if manifest.kind == kind:
                found.append((manifest.created, path))
    return RunFolder(max(found)[1]) if found else None


def _in_use(path: Path) -> str:
    return f"{path} is in use: give another --out, or --resume {path} to go on with that run"
