"""Metrics of the `evaluate` library, by hub name or by the path of a script."""

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from bench.errors import UserError
from bench.metrics import MeanMetric

_LONGEST_REASON = 160


def short_name(path: str) -> str:
    """The metric's name in a table: the last part of its path, without `.py`."""
    return PurePath(path).name.removesuffix(".py")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no script at that path, and none was reached on the Hugging Face Hub"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def _load(path: str) -> Any:
    import evaluate

    try:
        module = evaluate.load(path, keep_in_memory=True)
    except Exception as error:  # whatever a downloaded script or the network may raise
        raise UserError(
            f"cannot load metric {path!r}: {_reason(error)}; give the path of the metric's script, "
            "or run it where the hub can be reached"
        ) from error
    module.seed = 0  # else it is drawn from NumPy's global state
    return module


def _takes_one(module: Any) -> bool:
    """Whether references may be one text, and not only a list of texts."""
    from datasets import Value

    formats = module.features if isinstance(module.features, list) else [module.features]
    return any(isinstance(form.get("references"), Value) for form in formats)


def _first_number(result: Mapping[str, Any]) -> float | None:
    """The first number of a result, itself or as the only item of a list."""
    for value in result.values():
        items = value if isinstance(value, list) else [value]
        number: Any = items[0] if len(items) == 1 else None
        if hasattr(number, "item"):  # a NumPy scalar
            number = number.item()
        if isinstance(number, int | float) and math.isfinite(number):
            return float(number)
    return None


class EvaluateMetric(MeanMetric):
    """A metric from `evaluate.load`, called once a segment and averaged.

    The score is on the metric's own scale and is the mean of the first number it gives for each
    segment, which for metrics that pool a corpus is not what they give for the whole.
    """

    def __init__(self, path: str, num_refs: int | None = None) -> None:
        """Loads the metric.

        Raises:
            UserError: it cannot be loaded.
        """
        super().__init__(short_name(path), num_refs)
        self._module = _load(path)
        self._one = _takes_one(self._module)

    def signature(self) -> str:
        """In the form of sacreBLEU's; `script` is the hash of the metric's source."""
        from importlib.metadata import version

        script = str(self._module._hash)[:12]
        return (
            f"nrefs:{self._nrefs}|metric:{self.name}|agg:mean|script:{script}"
            f"|version:{version('evaluate')}"
        )

    def statistics(self, prediction: str, references: Sequence[str]) -> list[float]:
        """The segment's value and 1.

        Raises:
            UserError: the metric cannot take these texts, or gives no number.
        """
        several: Any = references[0] if self._one and len(references) == 1 else list(references)
        try:
            result = self._module.compute(predictions=[prediction], references=[several])
        except Exception as error:  # a third party's script may raise anything
            raise UserError(f"metric {self.name!r} failed: {_reason(error)}") from error
        number = _first_number(result or {})
        if number is None:
            raise UserError(f"metric {self.name!r} gave no number: {result!r:.{_LONGEST_REASON}}")
        return [number, 1]
