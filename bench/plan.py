"""A plan: everything that a run depends on, validated before anything starts."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)

from bench.baseline import Learner
from bench.dials import check_dials
from bench.errors import UserError, unknown
from bench.languages import normalised
from bench.options import ALL, spread
from bench.probes import PROBES
from bench.registry import check_backbone_name, load, names, preset_path

SHORT = 6  # items of two lists that a difference shows whole
LONGEST = 80  # characters of a value that a difference shows
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
DECODED = {  # key: the decoding it is of
    "beams": "beam",
    "temperature": "sample",
    "top_p": "sample",
    "decoding_seed": "sample",
}


#: Plan keys that change no result; two runs in one directory may differ in them.
FREE = frozenset({"out", "workers", "allow_slow_dtype"})


class Strict(BaseModel):
    """Refuses keys that it does not know and values of the wrong type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _unrepeated(value: list[Any]) -> list[Any]:
    repeated = [item for i, item in enumerate(value) if item in value[:i]]
    if repeated:
        raise ValueError(f"{repeated[0]!r} is named twice")
    return value


class Pretraining(Strict):
    """Pre-train the backbone anew for each train seed, on the meta-train tasks that meta-training
    takes, or on those of `suites`."""

    tokens: Count = 4_000_000
    suites: Annotated[list[str], AfterValidator(_unrepeated)] = []

    @property
    def told(self) -> dict[str, Any]:
        """What is set, as JSON."""
        return self.model_dump(exclude=None if self.suites else {"suites"})


class Tuning(Strict):
    """What the choice of a baseline's options cost: trials, seconds of training, adaptation and
    generation, tokens of training."""

    trials: int = 0
    seconds: float = 0.0
    tokens: int = 0


class Plan(Strict):
    """What `fewgen run` does. Every key has a flag of the command line.

    The keys of `FREE` do not change a result; all others do, so a run directory keeps them.
    """

    suites: list[str] = Field(default=[], description="suites; all registered ones if empty")
    baselines: list[str] = Field(default=[], description="baselines; all if empty")
    train_suites: list[str] = Field(
        default=[],
        description="suites that training takes its tasks from; each suite's own if empty",
    )
    shots: list[Count] = Field(default=[8], description="K, support examples")
    train_shots: list[Count] = Field(
        default=[], description="K in meta-training, drawn anew for each task; `shots` if empty"
    )
    queries: Count = Field(default=16, description="Q, query examples of an episode at most")
    episodes: Count = Field(default=16, description="episodes of a cell, spread over its tasks")
    seeds: list[Seed] = Field(default=[0], description="of episode draws and adaptation")
    train_seeds: list[Seed] = Field(default=[0], description="of meta-training")
    train_budget: Seed = Field(
        default=400_000,
        description="tokens through forward and backward of each meta-training; 0 trains nothing",
    )
    split: Literal["meta-test", "meta-validation", "meta-train"] = Field(
        default="meta-test",
        description="the tasks that are measured, by queries of their test part",
    )
    tasks: list[str] = Field(default=[], description="only these tasks of the split")
    backbone: str = Field(default="tiny", description="a name, a directory or a hub id")
    backbone_revision: str | None = Field(default=None, description="of a hub backbone")
    chat: bool = Field(default=False, description="prompts by the backbone's chat template")
    allow_pickle: bool = Field(default=False, description="read a checkpoint's pickled weights")
    trust_remote_code: bool = Field(default=False, description="run a checkpoint's own code")
    pretrain: Pretraining | None = Field(
        default=None, description="pre-train the backbone per train seed"
    )
    data: str | None = Field(default=None, description="a file, a folder or a hub data set")
    revision: str | None = Field(default=None, description="of a hub data set")
    columns: dict[str, str] = Field(default={}, description="our field = the data's column")
    configs: list[str] = Field(default=[], description="of data that has several")
    layout: str | None = Field(
        default=None, description="the declared public data set whose layout the data has"
    )
    language: str | None = Field(
        default=None,
        description="of the references, where the data do not say it: a code or an English name",
    )
    source_language: str | None = Field(
        default=None,
        description="of all inputs, for a multilingual backbone: a code of its tokenizer, another "
        "code or an English name; what the data say if not given",
    )
    target_language: str | None = Field(
        default=None, description="of all targets, likewise; scores do not depend on it"
    )
    metrics: list[str] = Field(default=[], description="`evaluate` metrics: hub names or paths")
    dials: dict[str, dict[str, int | float]] | None = Field(
        default=None, description="SUITE.DIAL = level, of embedded data; see `fewgen show SUITE`"
    )
    max_new_tokens: Count | None = Field(default=None, description="in place of the suite's own")
    decoding: Literal["greedy", "sample", "beam"] = Field(
        default="greedy", description="how answers are written"
    )
    beams: Annotated[int, Field(ge=2)] = Field(default=4, description="of a beam search")
    temperature: Annotated[float, Field(ge=1e-6)] = Field(
        default=1.0, description="of a sample; logits are divided by it"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="of a sample: from the likeliest tokens of so much probability"
    )
    decoding_seed: Seed = Field(default=0, description="of sampled answers, beside the episode's")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where models run")
    dtype: Literal["float32", "bfloat16"] = Field(default="float32", description="of the weights")
    allow_slow_dtype: bool = Field(
        default=False, description="use a dtype that this CPU computes slowly; see `fewgen doctor`"
    )
    loss_mean: Literal["token", "sequence"] = Field(
        default="token", description="a loss is the mean over all target tokens, or over targets"
    )
    threads: Count = Field(default=1, description="CPU threads of a cell")
    tasks_at_once: Count = Field(
        default=8, description="tasks whose models adapt and write in one batch, at most"
    )
    tokens_at_once: Count | None = Field(
        default=None,
        description="support tokens in one batch, at most, but for a task that alone has more; "
        "65536 on a GPU, on a CPU what its caches hold: 4096 of a backbone 128 wide, 512 of 1024",
    )
    length_edges: list[Count] = Field(
        default=[128, 256, 512, 1024, 2048],
        description="support tokens; no batch holds tasks from both sides of one",
    )
    allow_rechunk: bool = Field(
        default=False, description="halve tasks_at_once where memory does not hold so many"
    )
    checkpoint_steps: bool = Field(
        default=False,
        description="meta-training of order 2 takes inner steps anew for the outer gradient: less "
        "memory, more operations; without effect at other orders",
    )
    score_steps: list[Seed] = Field(
        default=[],
        description="inner steps after which queries are also answered and scored, for curves; "
        "takes the time of as many generations and of one more adaptation, which no cost counts",
    )
    probes: list[str] = Field(
        default=[],
        description="wrong supports to answer the same queries with: " + ", ".join(PROBES) + "; "
        "each takes the time of one more adaptation and generation, which no cost counts",
    )
    probe_episodes: Seed | None = Field(
        default=None, description="the first of each cell, which are probed; all if not given"
    )
    workers: Count | None = Field(
        default=None,
        description="processes that work on cells side by side; one for each GPU, on a CPU as many "
        "as its cores and its free memory allow",
    )
    out: str | None = Field(default=None, description="the run directory")
    options: dict[str, dict[str, Any]] = Field(
        default={},
        description="BASELINE.OPTION = value; '*' for every baseline that has the option",
    )
    tuning: dict[str, Tuning] = Field(
        default={}, description="what `fewgen tune` charges each baseline; shown beside its row"
    )

    #: What `make_plan` found notable, a line each.
    _notes: list[str] = PrivateAttr(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What is notable about how the plan was resolved, a line each."""
        return self._notes

    @property
    def trained_shots(self) -> list[int]:
        """Every K that meta-training draws from."""
        return self.train_shots or self.shots

    @property
    def decoded(self) -> str:
        """How answers are written, with all that this depends on: `beam, beams = 4`; a decoding
        seed of 0 is not named."""
        told = {key: getattr(self, key) for key, of in DECODED.items() if of == self.decoding}
        if not self.decoding_seed:
            told.pop("decoding_seed", None)
        return ", ".join([self.decoding, *(f"{key} = {value}" for key, value in told.items())])

    @property
    def pretrain_suites(self) -> list[str]:
        """The suites whose text pre-training reads, if the plan has it."""
        named = self.pretrain.suites if self.pretrain else []
        return named or self.train_suites or self.suites

    @property
    def probed(self) -> list[str]:
        """The probes that some episode is to be answered with."""
        return [] if self.probe_episodes == 0 else self.probes

    @field_validator(
        "suites",
        "train_suites",
        "baselines",
        "shots",
        "train_shots",
        "seeds",
        "train_seeds",
        "tasks",
        "configs",
        "metrics",
        "score_steps",
        "probes",
    )
    @classmethod
    def _no_repeats(cls, value: list[Any]) -> list[Any]:
        return _unrepeated(value)

    @field_validator("length_edges")
    @classmethod
    def _rising(cls, value: list[int]) -> list[int]:
        if value != sorted(set(value)):
            raise ValueError("edges must rise")
        return value

    @field_validator("language")
    @classmethod
    def _language_tag(cls, value: str | None) -> str | None:
        return (normalised(value) or None) if value is not None else None

    @field_validator("shots", "seeds", "train_seeds")
    @classmethod
    def _not_empty(cls, value: list[Any]) -> list[Any]:
        if not value:
            raise ValueError("at least one is needed")
        return value


def _plurals(kinds: Sequence[str]) -> dict[str, str]:
    """By its singular, each key that holds several values: `suites` by `suite`."""
    fields = Plan.model_fields.items()
    several = [
        name for name, field in fields if any(kind in str(field.annotation) for kind in kinds)
    ]
    return {name[:-1]: name for name in several if name.endswith("s")}


def by_field_name(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Plan keys where a list or a table may also be named in the singular, and a list of one be
    its one value: `suite = "writing"` is `suites = ["writing"]`.

    Raises:
        UserError: both names are there.
    """
    plurals, lists = _plurals(["list", "dict"]), set(_plurals(["list["]).values())
    named: dict[str, Any] = {}
    for key, value in values.items():
        name = plurals.get(key, key)
        if name != key and name in values:
            raise UserError(f"{where}: {key} and {name} are the same key; keep one")
        alone = name in lists and isinstance(value, str | int)
        named[name] = [value] if alone else value
    return named


def explain(error: ValidationError, where: str, known: Mapping[str, Any]) -> UserError:
    """The first fault of a validation as one line: the field, its value, what is allowed."""
    fault = error.errors(include_url=False)[0]
    *where_in, last = fault["loc"] or ("",)
    place = [
        *where_in,
        *([last] if isinstance(last, str) else []),
    ]  # the value tells which of a list
    key = ".".join(map(str, place))
    if fault["type"] == "extra_forbidden":
        return UserError(f"{where}: {unknown('key', key, known).message}")
    message = fault["msg"].removeprefix("Value error, ")
    if not key:
        return UserError(f"{where}: {message}")
    return UserError(f"{where}: {key} = {fault['input']!r}: {message}")


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as plain values.

    Raises:
        UserError: no such file, not UTF-8, or not TOML (with the line).
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"no such plan file: {path}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML: {error}") from None


def check_plan(values: Mapping[str, Any], where: str) -> Plan:
    """A plan whose keys and types are right; names and options are not looked up yet.

    Raises:
        UserError: an unknown key, a wrong type or value.
    """
    try:
        return Plan.model_validate(by_field_name(values, where))
    except ValidationError as error:
        raise explain(error, where, Plan.model_fields) from None


def make_plan(values: Mapping[str, Any], where: str = "plan") -> Plan:
    """A validated plan with every name, option and default written out.

    Raises:
        UserError: an unknown key or name, a wrong type or value.
    """
    plan = check_plan(values, where)
    suites = plan.suites or names("suite")
    baselines = plan.baselines or names("baseline")
    trained = [*plan.train_suites, *(plan.pretrain.suites if plan.pretrain else [])]
    for kind, chosen in (("suite", [*suites, *trained]), ("baseline", baselines)):
        for name in chosen:
            if name not in names(kind):
                raise unknown(kind, name, names(kind))
    for name in plan.probes:
        if name not in PROBES:
            raise unknown("probe", name, PROBES)
    if plan.probe_episodes and not plan.probes:
        raise UserError(f"{where}: probe_episodes has an effect with probes only; add --probe NAME")
    if plan.data and len(suites) != 1:
        raise UserError(f"{where}: data needs exactly one suite, which says how it is measured")
    if plan.data and trained:
        raise UserError(
            f"{where}: data brings the tasks that are trained on, so {', '.join(trained)} cannot "
            "be; leave out data or train_suites (--train-suite) and pretrain.suites"
        )
    for key in ("revision", "columns", "configs", "layout"):
        if getattr(plan, key) and not plan.data:
            raise UserError(f"{where}: {key} speaks of data, and none is named; add --data")
    if plan.dials and plan.data:
        raise UserError(f"{where}: dials turn embedded data, and data = {plan.data!r} is read")
    for key, decoding in DECODED.items():
        if getattr(plan, key) != Plan.model_fields[key].default and plan.decoding != decoding:
            raise UserError(
                f"{where}: {key} has an effect with decoding = {decoding!r} only; "
                f"add --decoding {decoding}"
            )
    for key in ("options", "tuning"):
        for name in getattr(plan, key):
            if name not in baselines and (key, name) != ("options", ALL):
                raise UserError(f"{where}: {key} for {name!r}, which is not among the baselines")
    if any(issubclass(load("baseline", name), Learner) for name in baselines):
        check_backbone_name(plan.backbone)
    given, notes = spread(plan.options, baselines)
    options = {name: resolve_options(name, given.get(name, {}), where) for name in baselines}
    dials = check_dials(plan.dials or {}, [*suites, *trained], where)
    update = {"suites": suites, "baselines": baselines, "options": options, "dials": dials}
    resolved = plan.model_copy(update=update)
    resolved._notes = notes
    return resolved


def resolve_options(name: str, values: Mapping[str, Any], where: str = "plan") -> dict[str, Any]:
    """All options of a baseline: those given, validated, and its defaults."""
    kind = load("baseline", name).Options
    try:
        resolved: dict[str, Any] = kind.model_validate(dict(values)).model_dump(
            exclude_none=True  # TOML has no word for nothing
        )
    except ValidationError as error:
        raise explain(error, f"{where}: options.{name}", kind.model_fields) from None
    return resolved


def changed_options(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a baseline that are not its defaults."""
    usual = load("baseline", name).Options().model_dump()
    return {option: value for option, value in values.items() if value != usual.get(option)}


def read_plan(source: str) -> dict[str, Any]:
    """The values of a preset or of a plan file, not yet validated."""
    path = Path(source)
    if not (path.suffix == ".toml" or path.is_file()):
        path = preset_path(source)
    return by_field_name(read_toml(path), source)


def plan_text(plan: Plan) -> str:
    """The resolved plan as TOML, without keys that are not set."""
    import tomli_w

    return tomli_w.dumps(plan.model_dump(exclude_none=True))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys in which two nested plans differ, each as `key: old -> new`; of long lists what is
    new and what is gone, of a table that one side lacks each key."""
    lines = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping | None):
            lines += differences(before, after or {}, f"{prefix}{key}.")
        elif isinstance(after, Mapping) and before is None:
            lines += differences({}, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {_change(before, after)}")
    return lines


def _change(before: Any, after: Any) -> str:
    """What became of a value, in words that fit a line."""
    if isinstance(before, list) and isinstance(after, list) and len([*before, *after]) > SHORT:
        gone = [f"without {_told(item)}" for item in before if item not in after]
        added = [f"with {_told(item)}" for item in after if item not in before]
        return _cut(", ".join([*gone, *added]) or "in another order")
    return f"{_told(before)} -> {_told(after)}"


def _told(value: Any) -> str:
    """A value as a plan file has it, cut where it is long."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return _cut(f"[{', '.join(map(_told, value))}]")
    return _cut(" ".join(str(value).split()) or '""')


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
