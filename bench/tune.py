"""Chooses options on meta-validation tasks: the same number of trials for every baseline, one
setting for all suites, what it cost beside it."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from bench import records
from bench.baseline import Space
from bench.context import Context
from bench.errors import UserError, unknown
from bench.options import changed
from bench.plan import FREE, Plan, Tuning, by_field_name, make_plan, plan_text
from bench.progress import Progress, unseen
from bench.registry import load, names
from bench.runner import Begun, begin, finish, pinned, warnings_of
from bench.streams import Stream, digest_of

Setting = dict[str, Any]
LOG = "studies.log"
TRIALS = "trials"  # the folder of their runs


@dataclass
class Trial:
    """One setting of one baseline.

    Attributes:
        number: of the trial in its baseline's study.
        run: its run on meta-validation tasks.
        scores: the primary metric of each suite; None before it ended, or if a suite failed.
    """

    baseline: str
    number: int
    setting: Setting
    run: Begun
    scores: dict[str, float] | None = None
    cost: Tuning | None = None

    @property
    def value(self) -> float:
        """The mean over suites."""
        assert self.scores
        return sum(self.scores.values()) / len(self.scores)


def tunable() -> list[str]:
    """The baselines that declare a search space."""
    return [name for name in names("baseline") if load("baseline", name).search]


def settings(baseline: str, space: Space, given: Mapping[str, Any], count: int) -> list[Setting]:
    """The first `count` settings of a space in an order drawn for the baseline. The one that the
    `given` options name comes first, in the space or not."""
    every = [dict(zip(space, values, strict=True)) for values in product(*space.values())]
    present = {name: given[name] for name in space}
    others = [setting for setting in every if setting != present]
    return [present, *Stream(0, "settings", baseline).shuffled(others)][:count]


def given_options(baseline: str, options: Mapping[str, Any]) -> Setting:
    """All options of a baseline: those that a plan gives, and its defaults."""
    given: Setting = load("baseline", baseline).Options(**options).model_dump()
    return given


def tune(
    values: Mapping[str, Any],
    trials: int = 8,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = unseen,
) -> Path:
    """Runs the trials that are not there yet and writes the plan with the best settings.

    Args:
        values: plan keys, `out` among them; `split` is always meta-validation.
        trials: settings of each baseline.
        say: told each notable fact in a line.
        progress: told the work done and the whole, in one unit.

    Returns:
        The plan file.

    Raises:
        UserError: a baseline has nothing to tune, optuna is missing, the plan cannot be run here,
            or the directory holds trials of another plan.
    """
    values = by_field_name(values, "tune")
    chosen = list(values.get("baselines") or tunable())
    for name in chosen:
        if name not in tunable():
            raise unknown("baseline with a search space", name, tunable())
    plan = make_plan({**values, "baselines": chosen, "split": "meta-validation"}, "tune")
    for line in warnings_of(plan):
        say(line)
    if plan.pretrain:
        raise UserError(
            "tune: every trial would pre-train anew; use `fewgen pretrain` and name its directory "
            "as the backbone"
        )
    base = pinned(plan)
    assert base.out
    root = Path(base.out)
    with records.locked(root):
        with _leaving_nothing(root):
            studies = _Studies(root, base)
            made = [trial for name in chosen for trial in studies.trials(name, trials)]
        by_root = {trial.run.context.root: trial for trial in made}

        def ended(run: Begun, cell: records.Cell) -> None:
            if all(_has_ended(run, other) for other in run.cells):
                studies.tell(by_root[run.context.root])

        finish([trial.run for trial in made], progress, ended, say)
        for trial in made:
            if trial.scores is None and not trial.run.left:
                studies.tell(trial)
        return _write(root, base, made, say)


@contextmanager
def _leaving_nothing(root: Path) -> Iterator[None]:
    """A tuning that is refused before its first trial ran leaves no log and no trials."""
    fresh = not ((root / LOG).exists() or (root / TRIALS).exists())
    try:
        yield
    except UserError:
        if fresh:
            (root / LOG).unlink(missing_ok=True)
            shutil.rmtree(root / TRIALS, ignore_errors=True)
        raise


def _has_ended(run: Begun, cell: records.Cell) -> bool:
    root = run.context.root
    return cell.path(root).is_file() or records.failed_path(root, cell).is_file()


class _Studies:
    """The optuna studies of a directory, one a baseline; each trial is a run below `trials/`."""

    def __init__(self, root: Path, base: Plan) -> None:
        try:
            import optuna
        except ImportError:
            raise UserError(
                "tune needs optuna, which is not installed; pip install 'fewgen[tune]'"
            ) from None
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.root, self.base, self._optuna = root, base, optuna
        try:
            self._storage = JournalStorage(JournalFileBackend(str(root / LOG)))
        except ValueError as error:
            raise UserError(f"{root / LOG}: damaged ({error}); delete it and run again") from None
        self._studies: dict[str, Any] = {}
        self._context = Context(base, root)

    def trials(self, baseline: str, count: int) -> list[Trial]:
        """The baseline's trials, those of an interrupted tuning among them."""
        kind = load("baseline", baseline)
        given = given_options(baseline, self.base.options[baseline])
        wanted = settings(baseline, kind.search, given, count)
        if len(wanted) < count:
            raise UserError(f"{baseline} has only {len(wanted)} settings; lower --trials")
        try:
            study = self._optuna.create_study(
                storage=self._storage,
                study_name=baseline,
                direction="maximize",
                load_if_exists=True,
            )
        except ValueError as error:
            raise UserError(
                f"{self.root / LOG}: damaged ({error}); delete it and run again: what trials "
                "have run is kept"
            ) from None
        if len(study.trials) > count:
            raise UserError(
                f"{self.root} holds {len(study.trials)} trials of {baseline}, which all count; "
                "give --trials as many or more, or name another --out"
            )
        self._studies[baseline] = study
        plan = digest_of(self.base.model_dump(exclude={*FREE, "baselines", "options"}))
        if study.user_attrs.setdefault("plan", plan) != plan:
            raise UserError(
                f"{self.root} holds trials of another plan; name another --out or delete it"
            )
        study.set_user_attr("plan", plan)
        for setting in wanted[len(study.trials) :]:
            study.enqueue_trial(setting)
        choices = {
            name: sorted({*allowed, *(setting[name] for setting in wanted)})
            for name, allowed in kind.search.items()
        }
        return [self._trial(baseline, choices, n, s) for n, s in enumerate(wanted)]

    def _trial(self, baseline: str, choices: Space, number: int, setting: Setting) -> Trial:
        """A trial with its run; one that waits is begun."""
        study = self._studies[baseline]
        if study.trials[number].state.name == "WAITING":
            asked = study.ask()
            for name, allowed in choices.items():
                asked.suggest_categorical(name, list(allowed))
        if study.trials[number].params != setting:
            raise UserError(
                f"{self.root}: trial {number} of {baseline} was another setting "
                f"({study.trials[number].params}); name another --out or delete it"
            )
        options = changed(baseline, self.base.options[baseline], setting)
        update: dict[str, Any] = {
            "baselines": [baseline],
            "options": {baseline: options},
            "out": str(self.root / TRIALS / f"{baseline}-{number}"),
            "probes": [],  # for what is chosen
            "probe_episodes": None,
        }
        plan = self.base.model_copy(update=update)
        run = begin(self._context.next(plan, Path(update["out"])))
        return Trial(baseline, number, setting, run)

    def tell(self, trial: Trial) -> None:
        """Reads what a trial's run gave, and stores it."""
        from bench.tables import primary_scores

        root, study = trial.run.context.root, self._studies[trial.baseline]
        trial.cost = _cost(trial.run)
        state = self._optuna.trial.TrialState
        ended = study.trials[trial.number].state.is_finished()
        if any(records.failed_path(root, cell).is_file() for cell in trial.run.cells):
            if not ended:
                study.tell(trial.number, state=state.FAIL)
            return
        trial.scores = primary_scores(root)
        if not ended:
            study.tell(trial.number, trial.value)


def _cost(run: Begun) -> Tuning:
    """What one trial took: seconds of training, adaptation and generation, training tokens. What
    failed before it told its cost is charged the whole token budget."""
    plan, root = run.context.plan, run.context.root
    seconds, tokens = 0.0, 0.0
    trained: dict[Any, dict[str, Any]] = {}
    for cell in run.cells:
        key = (run.context.sources(cell.suite), cell.train_seed)
        if not cell.path(root).is_file():
            if cell.train_seed is not None:
                trained.setdefault(key, {"tokens": plan.train_budget})
            continue
        header, found = records.read_cell(cell.path(root))
        trained[key] = header["train"]
        costs = [record["costs"] for record in found]
        seconds += sum(c["adapt_ms"] + c["generate_ms"] for c in costs) / 1e3
    for cost in trained.values():
        seconds += cost.get("seconds", 0.0)
        tokens += cost.get("tokens", 0)
    return Tuning(trials=1, seconds=round(seconds, 1), tokens=int(tokens))


def _write(root: Path, base: Plan, made: Sequence[Trial], say: Callable[[str], None]) -> Path:
    """`plan.toml` with each baseline's best setting and what its tuning cost, `trials.csv` and
    `trials.md` with all."""
    best: dict[str, Trial] = {}
    charges: dict[str, Tuning] = {}
    for trial in made:
        spent, cost = charges.get(trial.baseline, Tuning()), trial.cost or Tuning(trials=1)
        charges[trial.baseline] = Tuning(
            trials=spent.trials + 1,
            seconds=round(spent.seconds + cost.seconds, 1),
            tokens=spent.tokens + cost.tokens,
        )
        if trial.scores is None:
            say(f"{trial.baseline} trial {trial.number} failed: {trial.setting}")
        elif trial.baseline not in best or trial.value > best[trial.baseline].value:
            best[trial.baseline] = trial
    lost = [name for name in base.baselines if name not in best]
    if lost:
        raise UserError(f"no trial of {', '.join(lost)} ended well; see {root / TRIALS}")
    options = {n: changed(n, base.options[n], t.setting) for n, t in sorted(best.items())}
    update = {"split": "meta-test", "options": options, "tuning": charges, "out": None}
    plan = root / "plan.toml"
    records.write_whole(plan, plan_text(base.model_copy(update=update)))
    frame = _frame(made, best)
    records.write_whole(root / "trials.csv", str(frame.to_csv(index=False)))
    shown = frame.round(1).astype(object).where(frame.notna(), "failed")
    records.write_whole(
        root / "trials.md", shown.to_markdown(index=False, disable_numparse=True) + "\n"
    )
    return plan


def _frame(made: Sequence[Trial], best: Mapping[str, Trial]) -> Any:
    import pandas as pd

    return pd.DataFrame(
        {
            "baseline": t.baseline,
            "trial": t.number,
            "setting": ", ".join(f"{k} = {v}" for k, v in t.setting.items()),
            **(t.scores or {}),
            "mean": t.value if t.scores else None,
            "best": "yes" if best[t.baseline] is t else "",
            "seconds": t.cost.seconds if t.cost else None,
            "tokens": t.cost.tokens if t.cost else None,
        }
        for t in made
    )
