"""From the words of the reference's run_local.sh to those of `loadrun run`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import models
import models.options
from base.errors import InputError
from launch.options.sources import data_option
from launch.reference.flags import BY_NAME, Flag
from launch.reference.places import BACKENDS, DEVICES, PLACES, Place
from launch.spellings import hyphenated

USAGE = "BACKEND MODEL [DATASET] DEVICE [options]"


@dataclass
class Translated:
    """Words of `loadrun run`, and notes for the user on what changes nothing."""

    words: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def has(self, *flags: str) -> bool:
        """Whether one of these options is among the words."""
        return any(word.partition("=")[0] in flags for word in self.words)


def translate(words: Sequence[str], environment: Mapping[str, str]) -> Translated:
    """What `words` and the reference's variables ask for; InputError with the cure."""
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    named, options = list(words[:first]), list(words[first:])
    options = shlex.split(environment.get("EXTRA_OPS", "")) + options
    if not 3 <= len(named) <= 4:
        raise InputError(f"expected {USAGE}, got {len(named)} words before options")
    backend, *model, device = named
    place = PLACES[_one_of("MODEL [DATASET]", " ".join(model), PLACES)]
    if device not in DEVICES:
        raise InputError(f"DEVICE {device}: loadrun runs on CPUs; give cpu")
    found = Translated([place.task, *BACKENDS[_one_of("BACKEND", backend, BACKENDS)]])
    _options(options, place.task, found)
    if not found.has("--scenario"):
        found.words.append("--scenario=SingleStream")
    _files(place, environment, found)
    return found


def _options(options: Sequence[str], task: str, found: Translated) -> None:
    left = list(options)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        flag = BY_NAME.get(hyphenated(name))
        if flag is None:
            # One of our own: `loadrun run` reads it.
            found.words.append(word)
            continue
        if not flag.switch and not equals:
            if not left:
                raise InputError(f"{name}: its value is missing")
            value = left.pop(0)
        _flag(flag, name, value, task, found)


def _flag(flag: Flag, name: str, value: str, task: str, found: Translated) -> None:
    ours = list(flag.words(value, task)) if flag.words else []
    if not ours and flag.note:
        found.notes.append(f"{name}: changes nothing here: {flag.note}")
        return
    if name == "--dataset-list" and "annotations" in models.options.of_task(models.get(task)):
        ours = [f"--annotations={value}"]
    if name == "--dataset-path":
        ours = [f"{data_option(models.get(task)).partition(' ')[0]}={value}"]
    if name == "--count-samples" and not found.has("--mode"):
        found.notes.append("--count-samples: counts queries here, of Offline and accuracy samples")
    # Given last, it wins, as in the reference; the backend's precision goes with its engine.
    flags = {word.partition("=")[0] for word in ours}
    found.words = [word for word in found.words if word.partition("=")[0] not in flags] + ours


def _files(place: Place, environment: Mapping[str, str], found: Translated) -> None:
    """Weights, data and results where the reference's variables say, unless they were given."""
    if (folder := environment.get("OUTPUT_DIR")) and not found.has("--results"):
        found.words.append(f"--results={folder}")
    if not found.has("--weights"):
        if folder := environment.get("MODEL_DIR"):
            there = [Path(folder) / name for name in place.weights]
            file = next((path for path in there if path.is_file()), None)
            if file is None:
                raise InputError(f"MODEL_DIR {folder}: holds none of {', '.join(place.weights)}")
            found.words.append(f"--weights={file}")
        elif not found.has("--data", "--images"):
            found.notes.append(
                "neither MODEL_DIR nor a file of weights: the embedded synthetic model and data"
            )
    if not found.has("--data", "--images") and (folder := environment.get("DATA_DIR")):
        for flag, name in place.data:
            path = Path(folder) / name
            if path.exists() and not found.has(flag):
                found.words.append(f"{flag}={path}")
            elif flag == place.data[0][0]:
                raise InputError(f"DATA_DIR {folder}: holds no {name}")


def _one_of(what: str, value: str, known: Mapping[str, object]) -> str:
    if value in known:
        return value
    near = get_close_matches(value, known, 1, 0.0)
    raise InputError(f"{what} {value}: unknown (nearest: {near[0]}; known: {', '.join(known)})")
