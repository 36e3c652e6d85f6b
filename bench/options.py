"""Options of baselines as a plan gives them: changed, and set for all baselines at once."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from bench.errors import UserError
from bench.registry import load, names

ALL = "*"  # in the place of a baseline's name
Options = dict[str, Any]


def without_derived(baseline: str, options: Mapping[str, Any]) -> Options:
    """The options but for those that equal what they would be by default: a resolved plan writes
    defaults out, and one that follows from another option must follow a change of it.

    What is not valid is returned as it is; `make_plan` refuses it.
    """
    if baseline not in names("baseline"):
        return dict(options)
    kind = load("baseline", baseline).Options
    try:
        derived = kind(**options).derived()
    except (ValidationError, TypeError):
        return dict(options)
    return {
        name: value
        for name, value in options.items()
        if name not in derived or value != derived[name].value
    }


def changed(baseline: str, options: Mapping[str, Any], changes: Mapping[str, Any]) -> Options:
    """The options with changes, where defaults follow what they are derived from."""
    kind = load("baseline", baseline).Options
    together = kind(**{**without_derived(baseline, options), **changes})
    resolved: Options = together.model_dump(exclude_none=True)  # TOML has no word for nothing
    return resolved


def spread(
    options: Mapping[str, Options], baselines: Iterable[str]
) -> tuple[dict[str, Options], list[str]]:
    """Options by baseline with those of `*` given to every baseline that takes them, and a line
    that names the others. An option that is set for the baseline itself stays.

    Raises:
        UserError: no baseline takes an option.
    """
    found = {name: dict(given) for name, given in options.items() if name != ALL}
    wanted = options.get(ALL)
    if not wanted:
        return found, []
    taken: dict[str, list[str]] = {option: [] for option in wanted}
    refused: dict[str, list[str]] = {option: [] for option in wanted}
    chosen = list(baselines)
    for name in chosen:
        kind, given = load("baseline", name).Options, found.get(name, {})
        fields = [option for option in wanted if option in kind.model_fields]
        accepted = _accepted(kind, given, {o: wanted[o] for o in fields if o not in given})
        for option in fields:
            (taken if option in accepted or option in given else refused)[option].append(name)
        if accepted:
            found[name] = {**given, **accepted}
    notes = []
    for option, value in wanted.items():
        if not taken[option]:
            raise UserError(f"*.{option} = {value!r}: no baseline of the plan takes it")
        if refused[option]:
            notes.append(f"*.{option} = {value!r} is not set for {', '.join(refused[option])}")
    return found, notes


def _accepted(kind: Any, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> Options:
    """The wanted options that a baseline takes beside those it is given. One may be allowed only
    beside another, so each is tried until none is added."""
    accepted: Options = {}
    while True:
        for option in [option for option in wanted if option not in accepted]:
            try:
                kind.model_validate({**given, **accepted, option: wanted[option]})
            except ValidationError:
                continue
            accepted[option] = wanted[option]
            break
        else:
            return accepted
