"""Transfer: meta-trained on some suites, measured on others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.errors import UserError, unknown
from bench.registry import load, names
from bench.studies.study import Findings, Study, Values, narrowed

REFUSED = ("train_suites", "data")  # plan keys that the study itself decides


class Transfer(Study):
    """One training for each suite, for all, and for all but one; every suite measured with each."""

    name: ClassVar[str] = "transfer"
    question: ClassVar[str] = "Does meta-training on one suite help on another?"

    def plans(self, values: Values) -> dict[str, Values]:
        """The runs; those that pre-train come first, since they take longest.

        Raises:
            UserError: fewer than two suites, several shots, a baseline that does not train, or a
                key that the study decides.
        """
        suites = values.get("suites") or names("suite")
        methods = values["baselines"]
        self._check(values, suites)
        floor: str = self.analysis["floor"]
        base = {key: value for key, value in values.items() if key != "pretrain"}
        tokens, made = values["pretrain"], dict[str, Values]()
        others = {suite: [other for other in suites if other != suite] for suite in suites}
        for kind, more in (("without", {}), ("with", {"suites": suites})):
            for suite in suites:
                made[f"{kind}-text-of-{suite}"] = {
                    **narrowed(base, [floor, *methods]),
                    "suites": [suite],
                    "train_suites": others[suite],
                    "pretrain": {**tokens, **more},
                }
        trained = narrowed(base, methods)
        for suite in suites:
            made[f"from-{suite}"] = {**trained, "suites": suites, "train_suites": [suite]}
        made["from-all"] = {**trained, "suites": suites, "train_suites": suites}
        if len(suites) > 2:  # of two suites all but one is one
            for suite in suites:
                made[f"from-all-but-{suite}"] = {
                    **trained,
                    "suites": [suite],
                    "train_suites": others[suite],
                }
        return {**made, "floor": {**narrowed(base, [floor]), "suites": suites}}

    def _check(self, values: Values, suites: Sequence[str]) -> None:
        """Refuses plan keys with which the study cannot be made."""
        for key in REFUSED:
            if values.get(key):
                raise UserError(
                    f"study transfer: it decides {key} itself; name the suites with --suite"
                )
        if len(suites) < 2:
            raise UserError(f"study transfer: two suites are needed, not {', '.join(suites)}")
        if len(values.get("shots", [])) > 1:
            raise UserError("study transfer: one number of shots; name one with --shots")
        for name in values["baselines"]:
            if not getattr(load("baseline", name), "trains", False):
                raise UserError(
                    f"study transfer: {name!r} takes nothing from training tasks; name baselines "
                    "that train with --baseline"
                )
        known = [self.analysis["floor"], *values["baselines"]]
        for name in [*values.get("options", {}), *values.get("tuning", {})]:
            if name not in known:
                raise unknown("baseline of the study", name, known)

    def analyse(self, runs: Mapping[str, Path]) -> Findings:
        """The matrix, and what it says."""
        from bench.exports.runs import read_run
        from bench.studies.transfer_answer import findings
        from bench.studies.transfer_cells import Cells
        from bench.tables import read_rows

        plan = read_run(runs["floor"]).plan
        suites: list[str] = plan["suites"]
        cells = Cells(read_rows(runs.values()), suites, self.analysis["floor"])
        overlaps = text_overlaps(suites, plan["split"], plan.get("dials"))
        pretrained = read_run(runs[f"with-text-of-{suites[0]}"]).plan["pretrain"]["tokens"]
        return findings(cells, overlaps, plan, pretrained, self.analysis["leak"])


def text_overlaps(
    suites: Sequence[str], split: str, dials: Mapping[str, Any] | None = None
) -> dict[tuple[str, str], Any]:
    """`Overlap` of every suite's meta-train text with the examples of every suite that may be asked
    in `split`, by (suite of meta-training, measured suite)."""
    from bench.context import dataset_of
    from bench.overlap import overlaps, training_examples

    levels = dials or {}
    data = {suite: dataset_of(suite, levels=levels.get(suite)) for suite in suites}
    held_out = [
        [example for name in found.names(split) for example in found.task(name).parts["test"]]
        for found in data.values()
    ]
    return {
        (source, target): overlap
        for source, found in data.items()
        for target, overlap in zip(
            suites, overlaps(held_out, training_examples(found)), strict=True
        )
    }
