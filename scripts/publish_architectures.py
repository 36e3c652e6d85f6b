"""Tries the architectures of the test matrix and writes docs/architectures.md."""

import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.checkpoints import quiet  # noqa: E402
from bench.tasks import Example  # noqa: E402
from bench.tokenizer import train_tokenizer  # noqa: E402
from tests.architectures import ARCHITECTURES, judged, page  # noqa: E402
from tests.conftest import PAIRS  # noqa: E402


def main() -> None:
    """Takes some minutes."""
    quiet()
    warnings.simplefilter("ignore")
    examples = [
        Example(text, (target,), f"e{i}", f"g{i}") for i, (text, target) in enumerate(PAIRS)
    ]
    tokenizer = train_tokenizer([f"{a} => {b}\n\n" for a, b in PAIRS], 320, 128)
    found = []
    for name in ARCHITECTURES:
        found.append(judged(name, tokenizer, examples))
        print(found[-1], flush=True)
    place = ROOT / "docs" / "architectures.md"
    place.parent.mkdir(exist_ok=True)
    place.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
