"""A baseline's page: what it does, what it costs, when to use it, its options and their source."""

import re
import subprocess
import sys

import pytest

from bench.baseline import Baseline
from bench.registry import load, names
from bench.show import page


@pytest.mark.parametrize("name", names("baseline"))
def test_a_baselines_page_is_whole(name: str) -> None:
    kind, text = load("baseline", name), page(name)
    assert text.startswith(f"{name}\n\n")
    assert "\nCost" in text
    assert "\nUse it" in text
    assert f"order of the gradient: {kind.order}; starts from: {kind.init}" in text
    defaults = kind.Options()
    derived = defaults.derived() if isinstance(defaults, Baseline.Options) else {}
    for option, field in kind.Options.model_fields.items():
        value, rule = field.default, ""
        if option in derived:
            value, rule = getattr(defaults, option), "if not given"
        (line,) = re.findall(rf"^ *{name}.{option} = (.*)$", text, re.MULTILINE)
        assert line.startswith(f"{value!r}  {field.description}")
        assert rule in line
    for option, values in kind.search.items():
        assert f"\n  {option}: {', '.join(map(str, values))}" in text
    assert ("results/tuning.md" in text) == bool(kind.search)
    assert max(map(len, text.split("\noptions:")[0].splitlines())) <= 100


def test_pages_of_all_baselines_need_nothing_heavy() -> None:
    code = (
        "import sys\nfrom bench.show import page\nfrom bench.registry import names\n"
        "for name in names('baseline'): page(name)\n"
        "assert not {'torch', 'transformers', 'pandas', 'optuna'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
