"""The pages of `fewgen show`."""

import inspect

from bench.baseline import Baseline
from bench.dials import Levels, at_levels, check_levels, dials_text
from bench.episodes import Episode, draw_episode
from bench.errors import UserError, unknown
from bench.registry import backbone_path, load, load_suite, names, preset_path
from bench.tasks import SPLITS, Example, Suite

SHOTS, QUERIES = 8, 4


def page(name: str, task: str | None = None, seed: int = 0, levels: Levels | None = None) -> str:
    """A suite's card with an episode at some levels of its dials, a baseline's page, a backbone's
    card, a preset's plan.

    Raises:
        UserError: nothing of that name, or no such dial or level.
    """
    if name in names("suite"):
        suite = load_suite(name)
        return _suite_page(suite, task, seed, check_levels(suite, levels or {}, "show"))
    if levels:
        raise UserError(f"--dial goes with a suite; {name!r} is none")
    if task is not None:
        raise UserError(f"--task goes with a suite; {name!r} is none")
    if name in names("baseline"):
        return _baseline_page(name)
    if name in names("preset"):
        return preset_path(name).read_text(encoding="utf-8")
    folder = backbone_path(name)
    if folder:
        card = folder / "CARD.md"
        return (card if card.is_file() else folder / "recipe.toml").read_text(encoding="utf-8")
    known = [n for kind in ("suite", "baseline", "backbone", "preset") for n in names(kind)]
    raise unknown("suite, baseline, backbone or preset", name, known)


def _suite_page(suite: Suite, task: str | None, seed: int, levels: Levels) -> str:
    dataset = at_levels(suite, levels)
    counts = ", ".join(f"{len(dataset.names(split))} {split}" for split in SPLITS)
    chosen = dataset.task(task or dataset.names("meta-test")[0])
    episode = draw_episode(suite.name, chosen, SHOTS, QUERIES, seed, 0)
    facts = (
        f"{suite.name} {dataset.revision if levels else suite.version}: {suite.summary}\n"
        f"tasks: {counts}; primary metric {suite.primary}; "
        f"at most {suite.most_tokens(levels)} new tokens\n"
    )
    dials = f"dials, --dial {suite.name}.NAME=LEVEL\n{dials_text(suite)}\n\n" if suite.dials else ""
    return f"{facts}\n{suite.card}\n{dials}{_public_text(suite)}{_episode_text(episode)}"


def _public_text(suite: Suite) -> str:
    """The public data sets that the suite can read, and how."""
    if not suite.public:
        return ""
    lines = [
        f"  {p.id}: {p.summary}; licence {p.licence}\n"
        f"    --data {p.id} --revision {p.revision}, or a copy: --data FOLDER --layout {p.id}"
        + (f"\n    configs: {', '.join(p.configs)}" if p.configs else "")
        for p in suite.public
    ]
    return "public data sets it reads\n" + "\n".join(lines) + "\n\n"


def _episode_text(episode: Episode) -> str:
    def lines(examples: tuple[Example, ...]) -> str:
        pairs = [f"{e.input} => {' | '.join(e.references)}" for e in examples]
        return "\n".join("  " + pair.replace("\n", "\n    ") for pair in pairs)

    return (
        f"episode: task {episode.task}, seed {episode.seed}, digest {episode.digest[:12]}\n"
        f"support ({len(episode.support)})\n{lines(episode.support)}\n"
        f"query ({len(episode.query)})\n{lines(episode.query)}"
    )


def _baseline_page(name: str) -> str:
    kind: type[Baseline] = load("baseline", name)
    text = inspect.cleandoc(kind.__doc__ or "")
    defaults = kind.Options()
    derived = defaults.derived() if isinstance(defaults, Baseline.Options) else {}
    rows = [
        f"  {name}.{option} = {getattr(defaults, option)!r}  {field.description or ''}".rstrip()
        + (f"; {derived[option].rule} if not given" if option in derived else "")
        for option, field in kind.Options.model_fields.items()
    ]
    options = "\n".join(rows) if rows else "  none"
    facts = f"order of the gradient: {kind.order}; starts from: {kind.init}"
    space = "".join(
        f"\n  {option}: {', '.join(map(str, values))}" for option, values in kind.search.items()
    )
    tuned = f"\ndefaults that `fewgen tune` chose among (results/tuning.md):{space}"
    return f"{name}\n\n{text}\n\n{facts}\noptions:\n{options}{tuned if space else ''}"
