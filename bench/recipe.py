"""A backbone's recipe: its architecture, its vocabulary and how it is trained."""

from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError

from bench.backbone import POSITIONS, SIDES
from bench.checkpoints import auto_class, locate, looks_ahead, register
from bench.errors import UserError, unknown
from bench.plan import Strict, explain, read_toml
from bench.registry import backbone_path
from bench.streams import Stream

# Keys of a model that our backbones read, known to its type or not.
READ_HERE = (*POSITIONS, *SIDES, "decoder_start_token_id")


class Training(Strict):
    """How a backbone is trained."""

    tokens: int = Field(ge=1, description="tokens through forward and backward")
    rate: float = Field(gt=0, description="highest learning rate: short warm-up, then to 0")
    rows: int = Field(ge=1, description="examples of a step")
    in_context: float = Field(ge=0, le=1, description="share of steps on several pairs of a task")
    examples: int = Field(ge=1, description="pairs of such a row")
    tasks: int | None = Field(
        default=None, ge=1, description="the first meta-train tasks of each suite; all if not given"
    )
    seed: int = Field(ge=0)


class TokenizerSize(Strict):
    """How large the vocabulary may grow."""

    vocabulary: int = Field(ge=300)


class Recipe(Strict):
    """An architecture of transformers, a vocabulary size, a training."""

    model: dict[str, Any]
    tokenizer: TokenizerSize
    training: Training

    def with_training(self, **changes: Any) -> "Recipe":
        """The same recipe with other training values."""
        return self.model_copy(update={"training": self.training.model_copy(update=changes)})


def read_recipe(source: str) -> Recipe:
    """The recipe of a shipped backbone, or a recipe file.

    Raises:
        UserError: no such name or file, or a wrong value in it.
    """
    shipped = backbone_path(source)
    path = shipped / "recipe.toml" if shipped else Path(source)
    is_checkpoint = path.is_dir() and not (path / "recipe.toml").is_file()
    if path.is_dir():
        path = path / "recipe.toml"
    if not shipped and (is_checkpoint or path.suffix != ".toml"):
        locate(source)
        raise UserError(f"backbone {source!r} has no recipe to train it by; name a recipe.toml")
    try:
        return Recipe.model_validate(read_toml(path))
    except ValidationError as error:
        raise explain(error, str(path), Recipe.model_fields) from None


def build_model(recipe: Recipe, tokenizer: Any, seed: int) -> Any:
    """A new model with the tokenizer's vocabulary.

    Raises:
        UserError: transformers refuses the architecture.
    """
    from transformers import AutoConfig

    register()
    values = dict(recipe.model)
    if "model_type" not in values:
        raise UserError("recipe: [model] needs a model_type, as llama or gpt2")
    ids = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")
    }
    kind = values.pop("model_type")
    try:
        for key in values:
            _check_key(kind, key, values[key])
        config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **values, **ids)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(Stream(seed, "backbone").torch_seed())
            model = auto_class(config).from_config(config)
        if not config.is_encoder_decoder and looks_ahead(model, tokenizer):
            raise UserError(
                f"a {kind} model reads a text in both directions, so it cannot learn to go on with "
                "one; take a causal or an encoder-decoder model"
            )
    except UserError as error:
        raise UserError(f"recipe: [model] {error.message}") from None
    except Exception as error:  # transformers raises many kinds for a shape it cannot build
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"recipe: [model] {type(error).__name__}: {reason}") from error
    return model


def _check_key(kind: str, key: str, value: Any) -> None:
    """Raises `UserError` for a key that transformers keeps and ignores: it is no attribute of the
    configuration, and setting it changes nothing else."""
    from transformers import AutoConfig

    usual = AutoConfig.for_model(kind)
    if hasattr(usual, key) or key in READ_HERE:
        return
    changed = AutoConfig.for_model(kind, **{key: value}).to_dict()
    changed.pop(key, None)
    if changed == usual.to_dict():
        raise unknown(f"key of a {kind} model", key, usual.to_dict())
