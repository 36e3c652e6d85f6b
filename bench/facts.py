"""What a run was made with: `run.json`."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.baseline import Learner
from bench.code_state import files_read, plug_ins
from bench.code_state import own_digest as _code_digest
from bench.context import Context
from bench.errors import UserError
from bench.places import local_paths
from bench.probes import not_probed
from bench.readers import digest_of_files
from bench.registry import backbone_path, version

PACKAGES = [
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "evaluate",
    "sacrebleu",
    "rouge-score",
    "pandas",
    "numpy",
]
CHECKPOINT_TEXTS = (".json", ".jinja", ".model", ".py")


@lru_cache(maxsize=1)
def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that the code runs from, if it is one."""
    here = Path(__file__).parent

    def ask(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        top = ask("rev-parse", "--show-toplevel")
        if top is None or Path(top) != here.parent:
            return {"commit": None, "dirty": None}
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except OSError:
        return {"commit": None, "dirty": None}


@lru_cache(maxsize=1)
def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"fewgen": version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _facts(context: Context) -> dict[str, Any]:
    """What the plan's names stood for on this machine: part of what must not change."""
    plan = context.plan
    trains = any(getattr(context.baseline(name), "trains", False) for name in plan.baselines)
    data = {}
    for suite in plan.suites:
        dataset = context.dataset(suite)
        data[suite] = {
            "version": context.suite(suite).version,
            "dataset": dataset.name,
            "revision": dataset.revision,
            "language": context.language(suite),
            "tasks": {f"k{k}": context.tasks(suite, k)[0] for k in plan.shots},
            "left_out": {f"k{k}": context.tasks(suite, k)[1] for k in plan.shots},
            "left_out_of_training": (
                context.left_out_of_training(suite) if trains and not plan.train_suites else []
            ),
            "notes": list(getattr(dataset, "notes", [])),
            **({"not_probed": not_probed(context, suite)} if plan.probed else {}),
        }
    needs_model = any(isinstance(context.baseline(name), Learner) for name in plan.baselines)
    identity: Any = None
    slower: dict[str, object] = {}
    if needs_model and plan.pretrain:
        from bench.recipe import read_recipe

        identity = read_recipe(plan.backbone).model_dump()
    elif needs_model:
        backbone = context.backbone(None)
        identity, slower = backbone.identity, backbone.ways.told
        _check_room(context)
    return {
        "suites": data,
        **({"train_suites": _trained_on(context, trains)} if plan.train_suites else {}),
        "backbone": identity,
        "backbone_files": _files_digest(plan.backbone) if needs_model else None,
        **slower,
        "device": context.device.type,
        **_read_by_baselines(context),
        "code": _code_digest(),
        **_plug_ins(context),
    }


def _read_by_baselines(context: Context) -> dict[str, Any]:
    found = files_read(context, context.plan.baselines)
    return {"files_read": found} if found else {}


def _plug_ins(context: Context) -> dict[str, Any]:
    """The code of the plan's names that are not the project's own."""
    plan = context.plan
    trained = [*plan.train_suites, *(plan.pretrain_suites if plan.pretrain else [])]
    found = plug_ins(plan.baselines, [*plan.suites, *trained])
    return {"plug_ins": found} if found else {}


def _trained_on(context: Context, trains: bool) -> dict[str, Any]:
    """What the plan's `train_suites` stood for."""
    found = {}
    for suite in context.plan.train_suites:
        dataset = context.dataset(suite)
        found[suite] = {
            "version": context.suite(suite).version,
            "dataset": dataset.name,
            "revision": dataset.revision,
            "left_out_of_training": context.left_out_of_training(suite) if trains else [],
        }
    return found


def _files_digest(backbone: str) -> str | None:
    """SHA-256, shortened, of what a checkpoint's directory holds beside weights, which `identity`
    covers: configs, tokenizer, templates, code."""
    folder = Path(backbone)
    if backbone_path(backbone) or not folder.is_dir():
        return None
    kept = [path for path in sorted(folder.iterdir()) if path.suffix in CHECKPOINT_TEXTS]
    return digest_of_files(kept, folder)


def _check_room(context: Context) -> None:
    """Refuses answers that leave no room for a question."""
    positions = context.backbone(None).context
    for suite in context.plan.suites:
        if context.max_new_tokens(suite) >= positions // 2:
            raise UserError(
                f"{suite}: max_new_tokens = {context.max_new_tokens(suite)} takes half or more of "
                f"the backbone's context of {positions} tokens; lower --max-new-tokens"
            )


def describe(context: Context) -> dict[str, Any]:
    """The content of `run.json`."""
    plan = context.plan.model_dump()
    return {
        "plan": plan,
        "facts": _facts(context),
        "local": local_paths(plan),
        "git": git_state(),
        "packages": _versions(),
        "hardware": {
            "machine": platform.machine(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
