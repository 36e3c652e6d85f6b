"""Adapters as backbones: a folder that PEFT wrote holds what was added to a base model, which is
loaded from elsewhere and merged with it."""

import json
import warnings
from pathlib import Path
from typing import Any

from bench.errors import UserError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def adapter_folder(source: str) -> Path | None:
    """The folder of an adapter, if a backbone's name is one."""
    folder = Path(source)
    found = (folder / CONFIG).is_file() and not (folder / "config.json").is_file()
    return folder if found else None


def base_of(folder: Path) -> str:
    """The base model that an adapter names; a relative path may start from its folder.

    Raises:
        UserError: it names none, or its configuration cannot be read.
    """
    try:
        base = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise UserError(
            f"backbone {str(folder)!r} is an adapter whose {CONFIG} names no base model; set "
            "base_model_name_or_path in it"
        )
    beside = folder / base
    return str(beside) if beside.is_dir() else base


def merged(model: Any, folder: Path, allow_pickle: bool) -> Any:
    """The base model with the adapter's weights in its own.

    Raises:
        UserError: PEFT is not installed, or cannot merge this adapter into this model.
    """
    if not (folder / WEIGHTS).is_file() and not allow_pickle:
        raise UserError(
            f"backbone {str(folder)!r} is an adapter without {WEIGHTS}; pickled weights need "
            "--allow-pickle"
        )
    try:
        from peft import PeftModel
    except ImportError:
        raise UserError(
            f"backbone {str(folder)!r} is an adapter of {base_of(folder)!r}, and loading it needs "
            "PEFT; pip install peft"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapted = PeftModel.from_pretrained(model, str(folder))
            _check_keys(adapted, folder)
            return adapted.merge_and_unload(safe_merge=True)
    except UserError:
        raise
    except Exception as error:  # PEFT raises many kinds for what does not fit
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"backbone {str(folder)!r} is an adapter that cannot be merged into "
            f"{base_of(folder)!r}: {reason}"
        ) from error


def _check_keys(adapted: Any, folder: Path) -> None:
    """Raises `UserError` where an adapter's files lack weights, which PEFT would draw at random, or
    hold some that belong nowhere in the model."""
    found = adapted.load_adapter(str(folder), adapted.active_adapter)
    for keys, fault in (
        (found.missing_keys, "lack {} weight(s) that its configuration asks for"),
        (found.unexpected_keys, "hold {} weight(s) that the base model has no place for"),
    ):
        if keys:
            raise UserError(
                f"backbone {str(folder)!r} is an adapter whose files {fault.format(len(keys))}, "
                f"among them {sorted(keys)[0]}; save it again, or check its base model"
            )
