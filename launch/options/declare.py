"""Options declared as fields of a dataclass, and all that follows from the declaration.

    @dataclass(frozen=True, kw_only=True)
    class RunOptions(Options):
        instances: int | None = option("--instances N", "worker processes", PLAN, count)

A field holds what was checked. What the user gave has the same name in argparse's namespace, and is
the same where nothing has to be looked up. A field that is itself a class of options (`nested`)
adds its options; one that holds those of others (`others`) is a mapping of them by name.
"""

from __future__ import annotations

import argparse
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Self

from base.options import Goes, Option

_OPTION, _NESTED, _OTHERS = "option", "nested", "others"


def option(
    usage: str, help: str, group: str = "", parse: Callable[[str], Any] = str, **more: Any
) -> Any:
    """A field for an option, which is described as base.options.Option is."""
    return declared(Option(usage, help, group, parse, **more))


def declared(option: Option) -> Any:
    """A field for an option that is declared elsewhere."""
    return field(metadata={_OPTION: option})


def shared(cls: type[Options], name: str, help: str | None = None, group: str | None = None) -> Any:
    """A field for an option of another class, which may be explained in another way."""
    known = cls.options()[name]
    changes: dict[str, Any] = {"help": help, "group": group}
    return declared(replace(known, **{k: v for k, v in changes.items() if v is not None}))


def nested(cls: type[Options]) -> Any:
    """A field that holds a class of options."""
    return field(metadata={_NESTED: cls})


def others(declared: Callable[[], Iterable[Option]]) -> Any:
    """A field that holds, by name, the values of options that others declare."""
    return field(default_factory=dict, metadata={_OTHERS: declared})


class Options:
    """Base of dataclasses whose fields declare options; fields without a declaration are free."""

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Every option by the name of its value, in the order of the declarations."""
        return dict(_walk(cls))

    @classmethod
    def going(cls, where: Goes) -> tuple[str, ...]:
        """The names of the options that go there."""
        return tuple(name for name, known in cls.options().items() if where in known.goes)

    @classmethod
    def titles(cls) -> dict[str, str]:
        """What people call those options that have a title."""
        return {name: known.title for name, known in cls.options().items() if known.title}

    @classmethod
    def shown_in(cls, values: Mapping[str, Any]) -> dict[str, str | None]:
        """By title the values, in a record, of the options that are shown; None where not given."""
        found: dict[str, str | None] = {}
        for name in cls.going(Goes.SHOWN):
            value = values.get(name)
            title = cls.options()[name].title or name.replace("_", " ")
            found[title] = None if value is None else str(value)
        return found

    @classmethod
    def flag(cls, name: str) -> str:
        """The flag of an option, for a message."""
        return cls.options()[name].flag

    @classmethod
    def asking(cls, **values: Any) -> list[str]:
        """The words that ask for these values, in this order; None asks for nothing.

        A value may be an instance of a nested class of options. KeyError for an unknown option.
        """
        known, words = cls.options(), list[str]()
        for name, value in values.items():
            if isinstance(value, Options):
                words += value.words()
            else:
                words += known[name].words(value)
        return words

    def values(self) -> dict[str, Any]:
        """The value of every option by name."""
        found: dict[str, Any] = {}
        for item in _declaring(type(self)):
            value = getattr(self, item.name)
            if _OPTION in item.metadata:
                found[item.name] = value
            elif _NESTED in item.metadata:
                found |= value.values()
            else:
                found |= value
        return found

    def words(self) -> list[str]:
        """The words that ask for the same."""
        return self.asking(**self.values())

    def going_to(self, where: Goes) -> dict[str, Any]:
        """The values, by name, of the options that go there."""
        values = self.values()
        return {name: values[name] for name in self.going(where)}

    def as_json(self) -> dict[str, Any]:
        """Every value by name, as JSON has it: paths are texts."""
        return {name: _plain(value) for name, value in self.values().items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], **free: Any) -> Self:
        """Read what `as_json` wrote; `free` are the fields that are no options."""
        restored, hints = dict(free), typing.get_type_hints(cls)
        for item in _declaring(cls):
            if inner := item.metadata.get(_NESTED):
                restored[item.name] = inner.from_json(values)
            elif of_others := item.metadata.get(_OTHERS):
                restored[item.name] = {
                    known.name: _restored(values[known.name], Path if known.path else Any)
                    for known in of_others()
                    if known.name in values
                }
            else:
                restored[item.name] = _restored(values[item.name], hints[item.name])
        return cls(**restored)


def add(parser: argparse.ArgumentParser, options: Mapping[str, Option]) -> None:
    """Add options to a parser, each to its group, which is created where it is missing."""
    for name, known in options.items():
        add_to(group(parser, known.group), name, known)


def group(parser: argparse.ArgumentParser, title: str) -> argparse._ActionsContainer:
    """The group of that title, created where it is missing; the parser itself for ""."""
    if not title:
        return parser
    there = (group for group in parser._action_groups if group.title == title)
    return next(there, None) or parser.add_argument_group(title)


def add_to(group: argparse._ActionsContainer, name: str, known: Option) -> None:
    """Add one option, whose value argparse then keeps under `name`."""
    settings: dict[str, Any] = {"help": known.explained}
    if known.flag:
        settings |= {"dest": name, "default": known.default}
    if known.negatable:
        settings["action"] = argparse.BooleanOptionalAction
    elif known.switch:
        settings |= {"action": "store_true", "default": False}
    else:
        settings |= {"metavar": known.metavar, "type": known.parse}
    offer(group.add_argument(known.flag or name, **settings), known.names)


def offer(action: argparse.Action, names: Callable[[], Iterable[str]] | None) -> None:
    """Have completion offer these names as values of an argument."""
    action.names = names  # type: ignore[attr-defined]


def offered(action: argparse.Action) -> tuple[str, ...]:
    """The names that `offer` attached."""
    names = getattr(action, "names", None)
    return () if names is None else tuple(names())


def given(cls: type[Options], arguments: argparse.Namespace) -> dict[str, Any]:
    """What the user gave for the fields of `cls`, by name; those of nested classes not."""
    names = (item.name for item in _declaring(cls) if _OPTION in item.metadata)
    return {name: getattr(arguments, name) for name in names}


def _declaring(cls: type) -> Iterator[Field[Any]]:
    assert is_dataclass(cls)
    return (item for item in fields(cls) if {_OPTION, _NESTED, _OTHERS} & item.metadata.keys())


def _walk(cls: type[Options]) -> Iterator[tuple[str, Option]]:
    for item in _declaring(cls):
        if known := item.metadata.get(_OPTION):
            yield item.name, known
        elif inner := item.metadata.get(_NESTED):
            yield from _walk(inner)
        else:
            yield from ((known.name, known) for known in item.metadata[_OTHERS]())


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _restored(value: Any, hint: Any) -> Any:
    if is_dataclass(hint):
        inner = typing.get_type_hints(hint)
        restored = {name: _restored(found, inner[name]) for name, found in value.items()}
        return typing.cast(type, hint)(**restored)
    if isinstance(value, list):
        return tuple(value)
    is_path = hint is Path or Path in typing.get_args(hint)
    return Path(value) if is_path and value is not None else value
