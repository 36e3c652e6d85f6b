"""What a run should know about how its backbone is asked: the prompt's pieces, languages, and
targets that the tokenizer cannot write."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from bench.baseline import Learner
from bench.prompt import Prompt
from bench.separators import SEPARATORS, holds
from bench.tasks import SPLITS, Example

if TYPE_CHECKING:
    from bench.backbone import Backbone
    from bench.context import Context

CHECKED = 300  # targets of a suite that are tried on the tokenizer


def prompt_settings(context: "Context") -> dict[str, str]:
    """The pieces of the prompt that are not the usual ones."""
    plan, usual = context.plan, Prompt()
    if plan.chat:
        return {}
    if plan.pretrain:  # its tokenizer keeps every text
        free = context.free_separators
        prompt = Prompt(separator=free[0] if free else SEPARATORS[0])
    else:
        prompt = context.backbone(None).prompt
    found = {"separator": prompt.separator, "after": prompt.after}
    return {name: text for name, text in found.items() if text != getattr(usual, name)}


def notes(context: "Context") -> list[str]:
    """A line each for what is unusual."""
    backbone = context.backbone(None)
    lines = [*_prompt_notes(context), *_language_notes(context, backbone)]
    for suite in context.plan.suites:
        lines += _unwritable(context, suite, backbone)
    return lines


def _prompt_notes(context: "Context") -> Iterator[str]:
    changed, prompt = prompt_settings(context), context.backbone(None).prompt
    if not prompt.turns and not context.free_separators and _demonstrates(context):
        targets = list(context.targets(context.plan.suites[0]))
        cut = sum(holds(target, prompt.separator) for target in targets)
        yield (
            f"{cut} of {len(targets)} targets hold the separator of demonstrations, "
            f"{prompt.separator!r}: answers in context are cut there"
        )
    if "separator" in changed and _demonstrates(context):
        why = "targets hold a blank line" if SEPARATORS[0] not in context.free_separators else ""
        yield (
            f"demonstrations are separated by {changed['separator']!r}: "
            f"{why or 'the tokenizer does not keep a blank line'}"
        )
    if "after" in changed:
        yield f"{changed['after']!r} stands behind an input: the tokenizer cannot write '=>'"


def _demonstrates(context: "Context") -> bool:
    methods = map(context.baseline, context.plan.baselines)
    return any(isinstance(method, Learner) and method.demonstrates for method in methods)


def _language_notes(context: "Context", backbone: "Backbone") -> Iterator[str]:
    """Targets whose language a multilingual backbone cannot know."""
    wrappings = getattr(backbone, "wrappings", None)
    if wrappings is None or not wrappings.multilingual or wrappings.target:
        return
    silent = sum(
        example.language is None
        for suite in context.plan.suites
        for example in measured(context, suite)
    )
    if silent:
        yield (
            f"{silent} target(s) to be measured name no language, and the backbone is "
            f"multilingual: it writes {wrappings.default}; name one with --target-language, or "
            "give the records a language"
        )


def measured(context: "Context", suite: str) -> Iterator[Example]:
    """Every example that may be asked."""
    dataset = context.dataset(suite)
    for name in dataset.names(context.plan.split):
        yield from dataset.task(name).parts.get("test", ())


def check_languages(context: "Context", backbone: "Backbone") -> None:
    """Looks up the languages of all records in a multilingual backbone.

    Raises:
        UserError: its tokenizer does not know one of them.
    """
    from bench.backbone import languages_of

    wrappings = getattr(backbone, "wrappings", None)
    if wrappings is None or not wrappings.multilingual:
        return
    wrappings.of()  # those that the plan names
    if not context.plan.data:
        return
    dataset = context.dataset(context.plan.suites[0])
    for split in SPLITS:
        for name in dataset.names(split):
            for examples in dataset.task(name).parts.values():
                for example in examples:
                    wrappings.of(languages_of(example))


def _unwritable(context: "Context", suite: str, backbone: "Backbone") -> Iterator[str]:
    """How many targets the tokenizer does not give back as they are."""
    targets = [e.target for e in islice(measured(context, suite), CHECKED)]
    lost = [text for text in targets if backbone.given_back(text) != text.strip()]
    if lost:
        text = lost[0] if len(lost[0]) < 40 else f"{lost[0][:40]}..."
        yield (
            f"{suite}: the tokenizer cannot write {len(lost)} of {len(targets)} targets exactly, "
            f"among them {text!r}; it drops or changes characters, such as newlines"
        )
