"""What a plan's names stand for: suites, data, metrics, baselines and backbones, loaded once."""

from collections.abc import Iterator
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.baseline import Baseline, GradientLearner, Learner
from bench.dials import Levels, at_levels
from bench.episodes import usable_tasks
from bench.errors import UserError
from bench.metrics import Metric, build_metrics
from bench.plan import FREE, Plan
from bench.registry import load, load_suite
from bench.task_languages import one_of
from bench.tasks import SPLITS, Dataset, Example
from bench.union import Union

if TYPE_CHECKING:
    import torch

    from bench.backbone import Backbone
    from bench.sources import Source


BY_BASELINE = {"baselines", "options", "tuning", *FREE}  # plan keys
BY_SUITE = {"suites", "train_suites", "pretrain"}


def dataset_of(suite: str, source: "Source | None" = None, levels: Levels | None = None) -> Dataset:
    """The data that a suite is measured on: that of `source` if it is given, else what it embeds,
    with its dials at `levels`.

    Raises:
        UserError: no such suite, or data that cannot be read.
    """
    if source is None:
        return _embedded(suite, tuple(sorted((levels or {}).items())))
    from bench.sources import open_dataset

    return open_dataset(source, load_suite(suite).public)


@cache
def _embedded(suite: str, levels: tuple[tuple[str, int | float], ...]) -> Dataset:
    """The tasks that a suite makes by rules; nothing changes them."""
    return at_levels(load_suite(suite), dict(levels))


class Context:
    """The plan's objects, made when they are first asked for.

    Attributes:
        plan: the resolved plan.
        root: the run directory, where artefacts lie.
        backbones: where backbones lie that the plan pre-trains; several runs may share it.
    """

    def __init__(self, plan: Plan, root: Path, backbones: Path | None = None) -> None:
        self.plan, self.root = plan, root
        self.backbones = backbones or root / "artefacts"
        self.suite = lru_cache(maxsize=None)(load_suite)
        self.dataset = lru_cache(maxsize=None)(self._dataset)
        self.tasks = lru_cache(maxsize=None)(self._tasks)
        self.usable = lru_cache(maxsize=None)(self._usable)
        self.left_out_of_training = lru_cache(maxsize=None)(self._left_out_of_training)
        self.languages = lru_cache(maxsize=None)(self._languages)
        self.metrics = lru_cache(maxsize=None)(self._metrics)
        self.baseline = lru_cache(maxsize=None)(self._baseline)
        self._loaded = lru_cache(maxsize=1)(self._backbone)

    def next(self, plan: Plan, root: Path, backbones: Path | None = None) -> "Context":
        """The context of another plan; one that differs in its baselines and suites alone, and in
        what is set for each, takes over what this one has loaded."""
        other = Context(plan, root, backbones)

        def alike(but: set[str]) -> bool:
            return self.plan.model_dump(exclude=but) == plan.model_dump(exclude=but)

        if alike(BY_BASELINE | BY_SUITE):
            for name in (
                *("suite", "dataset", "tasks", "usable", "left_out_of_training"),
                *("languages", "metrics"),
            ):
                setattr(other, name, getattr(self, name))
            if not (self.plan.pretrain or plan.pretrain):
                other._loaded = self._loaded
        return other

    def with_workers(self, count: int) -> "Context":
        """This context with a plan of so many workers."""
        update = self.plan.model_copy(update={"workers": count})
        return self.next(update, self.root, self.backbones)

    def _dataset(self, suite: str) -> Dataset:
        from bench.sources import Source

        plan, source = self.plan, None
        if plan.data:
            at = plan.data, plan.revision, plan.columns, plan.configs, plan.layout
            source = Source(*at, plan.language)
        return dataset_of(suite, source, self._levels(suite))

    def sources(self, suite: str) -> tuple[str, ...]:
        """The suites whose meta-train tasks a suite's cells are trained on."""
        return tuple(self.plan.train_suites) or (suite,)

    def training_data(self, sources: tuple[str, ...]) -> Dataset:
        """The tasks of some suites together."""
        data = {suite: self.dataset(suite) for suite in sources}
        return data[sources[0]] if len(data) == 1 else Union(data)

    def _tasks(self, suite: str, shots: int) -> tuple[list[str], list[str]]:
        """Tasks that the plan measures and a reason for each one left out.

        Raises:
            UserError: none remain, or one that the plan names cannot be used.
        """
        dataset, split = self.dataset(suite), self.plan.split
        usable, reasons = self.usable(suite, shots)
        for name in self.plan.tasks:
            if name not in usable:
                why = [reason for reason in reasons if reason.startswith(f"{name}:")]
                raise UserError(why[0] if why else f"no task {name!r} in {split} of {dataset.name}")
        usable = self.plan.tasks or usable
        if not usable:
            raise UserError(
                f"no {split} task of {dataset.name} holds shots = {shots} support examples and a "
                f"query; the largest reasons: {'; '.join(reasons[:3])}; lower shots"
            )
        return list(usable), reasons

    def _usable(self, suite: str, shots: int) -> tuple[list[str], list[str]]:
        """Tasks of the split that can be measured, and a reason for each other; of meta-train those
        that training reads, whatever the K."""
        split = self.plan.split
        if split == "meta-train":
            shots = max(*self.plan.shots, *self.plan.trained_shots)
        return usable_tasks(self.dataset(suite), split, shots, measured=True)

    def _left_out_of_training(self, suite: str) -> list[str]:
        """A reason for each meta-train task that is too small.

        Raises:
            UserError: all are, for the K that the plan sets for meta-training.
        """
        dataset, shots = self.dataset(suite), max(self.plan.trained_shots)
        usable, reasons = usable_tasks(dataset, "meta-train", shots)
        if self.plan.train_shots and not usable:
            raise UserError(
                f"{suite}: no meta-train task of {dataset.name} holds train_shots = {shots} "
                "support examples and a query; the largest reasons: "
                f"{'; '.join(reasons[:3])}; lower train_shots"
            )
        return reasons

    def _metrics(self, suite: str) -> list[Metric]:
        counts = {len(example.references) for example in self._queries(suite)}
        num_refs = counts.pop() if len(counts) == 1 else None
        language = self.language(suite)
        own = self.suite(suite).metrics(not self.plan.data, language)
        languages = self.languages(suite)
        metrics = build_metrics(language, self.plan.metrics, num_refs, own, languages)
        primary, known = self.suite(suite).primary, [metric.name for metric in metrics]
        if primary not in known:
            raise UserError(
                f"suite {suite!r} ranks by {primary!r}, which is not among the run's metrics: "
                f"{', '.join(known)}"
            )
        return metrics

    def _queries(self, suite: str) -> Iterator[Example]:
        """Every example that may be asked in the measured split."""
        dataset = self.dataset(suite)
        for name in dataset.names(self.plan.split):
            if name in self.plan.tasks or not self.plan.tasks:
                yield from dataset.task(name).parts.get("test", ())

    @cached_property
    def free_separators(self) -> list[str]:
        """The separators of demonstrations that no target of the plan's own data holds, so that
        none is cut."""
        from bench.separators import SEPARATORS, free_separators

        if not self.plan.data:  # no embedded target holds the first
            return list(SEPARATORS)
        return free_separators(self.targets(self.plan.suites[0]))

    def targets(self, suite: str) -> Iterator[str]:
        """Every reference of a suite's data."""
        dataset = self.dataset(suite)
        for split in SPLITS:
            for name in dataset.names(split):
                for examples in dataset.task(name).parts.values():
                    for example in examples:
                        yield from example.references

    def language(self, suite: str) -> str | None:
        """Tag of the references' language; None where the tasks have several, or nothing tells."""
        return one_of(self.languages(suite))

    def _languages(self, suite: str) -> tuple[str | None, ...]:
        """Tags of the languages of all references that are scored. Data tell theirs, by what they
        or the plan declare or by their script; the plan or the suite tells that of what a suite
        embeds."""
        if not self.plan.data:
            return (self.plan.language or self.suite(suite).language,)
        found = {example.language for example in self._queries(suite)}
        return tuple(sorted(found, key=lambda tag: tag or ""))

    def max_new_tokens(self, suite: str) -> int:
        """Where generation stops: the plan's word, else the suite's."""
        return self.plan.max_new_tokens or self.suite(suite).most_tokens(self._levels(suite))

    def _levels(self, suite: str) -> Levels:
        """Of the suite's dials, those that are not at their default."""
        return (self.plan.dials or {}).get(suite, {})

    def _baseline(self, name: str) -> Baseline:
        kind: type[Baseline] = load("baseline", name)
        made = kind(kind.Options.model_validate(self.plan.options[name]))
        if isinstance(made, GradientLearner):
            made.checkpoint_steps = self.plan.checkpoint_steps
        return made

    def trained(self, baseline: str) -> bool:
        """Whether a cell of this baseline depends on the train seed."""
        method = self.baseline(baseline)
        if not isinstance(method, Learner):
            return False
        return method.trains or self.plan.pretrain is not None

    @cached_property
    def device(self) -> "torch.device":
        """Where models run.

        Raises:
            UserError: CUDA was asked for and there is none.
        """
        import torch

        if self.plan.device == "cuda" and not torch.cuda.is_available():
            raise UserError(
                "device = 'cuda', but torch sees no GPU here; use --device cpu, or see "
                "`fewgen doctor`"
            )
        chosen = self.plan.device
        if chosen == "auto":
            chosen = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(chosen)

    def backbone(self, train_seed: int | None) -> "Backbone":
        """The backbone of a train seed, the last one loaded; one for all unless the plan
        pre-trains."""
        return self._loaded(train_seed if self.plan.pretrain else None)

    def _backbone(self, train_seed: int | None) -> "Backbone":
        from bench.artefacts import pretrained_folder
        from bench.asking import check_languages
        from bench.checkpoints import load_backbone
        from bench.decoding import Decoding

        source, revision = self.plan.backbone, self.plan.backbone_revision
        if train_seed is not None and self.plan.pretrain:
            source, revision = str(pretrained_folder(self, train_seed)), None
        plan = self.plan
        backbone = load_backbone(
            source,
            revision,
            self.device,
            plan.dtype,
            chat=plan.chat,
            allow_pickle=plan.allow_pickle,
            trust_remote_code=plan.trust_remote_code,
            free=self.free_separators,
        )
        backbone.name_languages(plan.source_language, plan.target_language)
        check_languages(self, backbone)
        backbone.mean = plan.loss_mean
        backbone.decoding = Decoding(plan.decoding, plan.beams, plan.temperature, plan.top_p)
        backbone.check_decoding()
        return backbone
