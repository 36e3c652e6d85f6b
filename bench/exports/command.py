"""The command `fewgen export`."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.exports import Export, hub

MODULES = {
    "every-eval-ever": "every_eval_ever",
    "model-card": "model_card",
    "datasets": "dataset",
    "records": "slim",
}
OPTIONS = {  # not of all kinds: the option, its kinds
    "baselines": ("--baseline", ("model-card",)),
    "organization": ("--organization", ("every-eval-ever",)),
    "developer": ("--developer", ("every-eval-ever", "model-card")),
}


def export_to(
    kind: str,
    directories: Sequence[Path],
    out: Path,
    push: str | None = None,
    yes: bool = False,
    no_texts: bool = False,
    **given: Any,
) -> Iterator[str]:
    """Exports, and tells it in lines; see `fewgen export`.

    Raises:
        UserError: options that do not go together, and all that the exports raise.
    """
    more = {key: value for key, value in given.items() if value}
    for key in more:
        option, kinds = OPTIONS[key]
        if kind not in kinds:
            raise UserError(f"{option} goes with --to {' or '.join(kinds)}")
    if yes and not push:
        raise UserError("--yes goes with --push OWNER/NAME")
    if push:
        hub.check_repository(push)
    if yes:
        hub.token()  # before the work
    write: Callable[..., Export] = import_module(f"bench.exports.{MODULES[kind]}").export
    made = write(list(directories), out, texts=not no_texts, **more)
    yield from made.notes
    yield f"Written to {out}"
    if push:
        yield from _pushed(made, push, yes)


def _pushed(made: Export, repository: str, yes: bool) -> Iterator[str]:
    if made.repository == "model" and not (made.folder / "README.md").is_file():
        cards = sorted(path.name for path in made.folder.iterdir())
        raise UserError(
            f"a model repository holds one card, and here are {len(cards)}: {', '.join(cards)}; "
            "name one with --baseline"
        )
    yield from hub.plan(made, repository)
    if yes:
        yield f"Uploaded: {hub.upload(made, repository)}"
    else:
        yield "Nothing was uploaded; add --yes to do it"
