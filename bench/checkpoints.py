"""Loads a backbone: one that ships with the package, a local directory, or a hub id."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.adapters import CONFIG as ADAPTER
from bench.adapters import adapter_folder, base_of, merged
from bench.backbone import Backbone, saved_buffers
from bench.causal import CausalBackbone
from bench.errors import UserError
from bench.prompt import Prompt, chat_prompt
from bench.registry import backbone_path, check_backbone_name
from bench.special_tokens import not_followed

if TYPE_CHECKING:
    import torch


def load_backbone(
    source: str,
    revision: str | None,
    device: "torch.device",
    dtype: str,
    *,
    chat: bool = False,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    free: Sequence[str] | None = None,
) -> Backbone:
    """A model with its tokenizer, ready for any baseline.

    Args:
        source: a shipped name, a directory written by `save_pretrained`, or a hub id.
        revision: of a hub id; None takes the newest.
        device: where its weights go.
        dtype: `float32` or `bfloat16`.
        chat: prompts by the tokenizer's chat template.
        allow_pickle: read weights that only a pickle holds, which can run code.
        trust_remote_code: run the code that a checkpoint brings.
        free: the separators that no target holds; None for all.

    Raises:
        UserError: nothing of that name, no generating model or tokenizer in it, no network, or a
            tokenizer that is empty or has no end-of-sequence token.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer

    from bench.separators import SEPARATORS, plain_prompt

    place, branch = locate(source), revision or "main"
    quiet()
    register()
    common = {"revision": branch, "trust_remote_code": trust_remote_code}
    try:
        if not allow_pickle:
            _refuse_pickles(source, place, branch)
        adapter = adapter_folder(source)
        own = adapter is not None and (adapter / "tokenizer_config.json").is_file()
        tokenizer = AutoTokenizer.from_pretrained(source if own else place, **common)
        kind: Any = auto_class(AutoConfig.from_pretrained(place, **common))
        model, found = kind.from_pretrained(
            place,
            dtype=getattr(torch, dtype),
            use_safetensors=None if allow_pickle else True,
            output_loading_info=True,
            **common,
        )
        if adapter:
            model = merged(model, adapter, allow_pickle)
    except UserError:
        raise
    except Exception as error:  # transformers raises many kinds for a checkpoint it cannot read
        raise _cannot_load(source, place, error, allow_pickle, trust_remote_code) from error
    notes = [*_weights_notes(source, found), *_generation_notes(source, model)]
    _check_weights(source, model)
    known = SEPARATORS if free is None else free
    try:
        _check(source, model, tokenizer)
        prompt = chat_prompt(tokenizer) if chat else plain_prompt(tokenizer, known)
    except UserError:
        raise
    except Exception as error:  # whatever a tokenizer's files make it raise
        raise UserError(
            f"backbone {source!r}: its tokenizer cannot be used: {_first_line(error)}; save it "
            "again (tokenizer.save_pretrained)"
        ) from error
    backbone = backbone_of(model.to(device), tokenizer, prompt)
    backbone.notes = [*notes, *_slower(source, backbone)]
    return backbone


def _slower(source: str, backbone: Backbone) -> list[str]:
    """Tries the model; a line for each part of the fast path that it does not take.

    Raises:
        UserError: it differs from its own code even on the slowest path.
    """
    try:
        ways = backbone.ways
    except UserError as error:
        raise UserError(
            f"backbone {source!r} ({type(backbone.model).__name__}) cannot be used: "
            f"{error.message}; take another model"
        ) from error
    return [f"backbone {source!r} takes a slower path: {reason}" for reason in ways.reasons]


def _check_weights(source: str, model: Any) -> None:
    """Raises `UserError` where a weight is NaN or infinite."""
    import torch

    for name, weight in chain(model.named_parameters(), saved_buffers(model)):
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise UserError(
                f"backbone {source!r}: its weights are not finite, first in {name}; save it again, "
                "or take an earlier checkpoint"
            )


def _cannot_load(
    source: str, place: str, error: Exception, allow_pickle: bool, trust_remote_code: bool
) -> UserError:
    """What transformers says of a checkpoint, on one line, with the flag that would help."""
    if "custom code" in str(error) and not trust_remote_code:
        return UserError(
            f"backbone {source!r} brings code of its own that must run to load it; if you have "
            "read it and trust it, add --trust-remote-code"
        )
    elsewhere = not Path(place).is_dir() or any(Path(place).glob("*.bin"))
    asks = elsewhere and not allow_pickle and "no file named" in str(error)
    hint = "; pickled weights need --allow-pickle" if asks else ""
    return UserError(f"backbone {source!r} cannot be loaded: {_first_line(error)}{hint}")


def _check(source: str, model: Any, tokenizer: Any) -> None:
    """Raises `UserError` where a tokenizer and a model cannot work together, or not for us."""
    if tokenizer.eos_token_id is None:
        raise UserError(f"backbone {source!r}: its tokenizer has no end-of-sequence token; set one")
    if (most := tokenizer.model_max_length) is not None and not (
        isinstance(most, int | float) and most > 0
    ):
        raise UserError(
            f"backbone {source!r}: its tokenizer_config.json has model_max_length = {most!r}; set "
            "the number of tokens that the model reads"
        )
    if getattr(model.config, "attention_type", None) == "block_sparse":
        raise UserError(
            f"backbone {source!r} attends in sparse blocks until it meets a short text, and fully "
            "from then on, so that its answers depend on what it has read before; set "
            'attention_type = "original_full" in its config.json'
        )
    if not tokenizer.encode("a", add_special_tokens=False):
        # What transformers makes of a directory without a tokenizer's files.
        raise UserError(
            f"backbone {source!r}: its tokenizer knows no text; save the one it was trained with "
            "beside it (tokenizer.save_pretrained)"
        )
    known = len(model.get_input_embeddings().weight)
    if len(tokenizer) > known:
        raise UserError(
            f"backbone {source!r}: the tokenizer has {len(tokenizer)} tokens, the model only "
            f"{known}; they do not belong together"
        )
    if not model.config.is_encoder_decoder and _tried(source, model, tokenizer):
        raise UserError(
            f"backbone {source!r} reads a text in both directions, so it cannot be asked for the "
            "next token; name a causal or an encoder-decoder model"
        )


def _weights_notes(source: str, found: Mapping[str, Any]) -> list[str]:
    """What of a checkpoint's weights the model has no place for.

    Raises:
        UserError: the checkpoint lacks weights of the model, which transformers would draw at
            random.
    """
    lacking = sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"])
    if lacking:
        raise UserError(
            f"backbone {source!r}: its files lack {len(lacking)} weight(s) of the model that its "
            f"config describes, among them {lacking[0]}; save the whole model beside its config"
        )
    surplus = sorted(found["unexpected_keys"])
    if not surplus:
        return []
    return [
        f"backbone {source!r}: {len(surplus)} weight(s) in its files are not in the model that its "
        f"config describes and stay unread, among them {surplus[0]}"
    ]


def _generation_notes(source: str, model: Any) -> list[str]:
    """What of a checkpoint's generation config answers do not follow."""
    names = not_followed(model)
    if not names:
        return []
    return [
        f"backbone {source!r}: its generation config has {', '.join(names)}, which answers here do "
        "not follow"
    ]


def _tried(source: str, model: Any, tokenizer: Any) -> bool:
    """`looks_ahead`; a model that cannot read four tokens is told."""
    try:
        return looks_ahead(model, tokenizer)
    except Exception as error:  # whatever its own code raises
        raise UserError(
            f"backbone {source!r} cannot read four tokens: {_first_line(error)}"
        ) from error


def looks_ahead(model: Any, tokenizer: Any) -> bool:
    """Whether logits depend on later tokens, as those of BERT do, which transformers loads as a
    causal model all the same."""
    import torch

    word = tokenizer.encode("a", add_special_tokens=False)[:1]
    ids = torch.tensor([word * 4, word * 3 + [tokenizer.eos_token_id]])
    with torch.no_grad():
        one, two = model.eval()(input_ids=ids).logits[:, :3]
    return not torch.allclose(one, two, rtol=1e-4, atol=1e-6)


def _refuse_pickles(source: str, place: str, revision: str) -> None:
    """Raises `UserError` where weights would come from a pickle: there are no safetensors, or
    their index names other files, which transformers would read as pickles."""
    from transformers.utils import cached_file

    def file(name: str) -> str | None:
        path: str | None = cached_file(
            place, name, revision=revision, _raise_exceptions_for_missing_entries=False
        )
        return path

    if file("model.safetensors"):
        return
    if index := file("model.safetensors.index.json"):
        try:
            shards = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values()
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise UserError(
                f"backbone {source!r}: {Path(index).name} names no files of weights; get it again"
            ) from None
        pickles = not all(name.endswith(".safetensors") for name in shards)
    else:
        pickles = any(Path(place).glob("pytorch_model*.bin"))
    if pickles:
        raise UserError(
            f"backbone {source!r} holds its weights as pickles, which can run code when they are "
            "read; if you trust where it is from, add --allow-pickle"
        )


def register() -> None:
    """Makes the project's own architectures known to transformers."""
    import bench.recurrent  # noqa: F401, importing it registers them


def auto_class(config: Any) -> Any:
    """The class of transformers that builds and loads a model of that configuration."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def backbone_of(model: Any, tokenizer: Any, prompt: Prompt) -> Backbone:
    """The backbone that a model's architecture asks for."""
    from bench.recurrent import RecurrentBackbone, RecurrentConfig
    from bench.seq2seq import Seq2SeqBackbone

    if isinstance(model.config, RecurrentConfig):
        return RecurrentBackbone(model, tokenizer, prompt)
    kind = Seq2SeqBackbone if model.config.is_encoder_decoder else CausalBackbone
    return kind(model, tokenizer, prompt)


def quiet() -> None:
    """No progress bars between ours, and no advice: padding is on the right, where no mask is
    needed."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def locate(source: str) -> str:
    """The folder or hub id that a backbone's name stands for.

    Raises:
        UserError: neither a shipped name, a directory nor an `owner/name`; or a hub id that
            cannot be reached.
    """
    shipped = backbone_path(source)
    if shipped:
        if not (shipped / "model.safetensors").is_file():
            raise UserError(f"backbone {source!r} is not pre-trained yet; run `make backbones`")
        return str(shipped)
    if Path(source).is_dir():
        if adapter := adapter_folder(source):
            return _base(source, adapter)
        if not (Path(source) / "config.json").is_file():
            raise UserError(f"backbone {source!r}: no config.json in that directory")
        return source
    check_backbone_name(source)
    _check_hub(source)
    return source


def _base(source: str, adapter: Path) -> str:
    """Where the base model of an adapter is.

    Raises:
        UserError: it cannot be reached.
    """
    base = base_of(adapter)
    try:
        if adapter_folder(base):
            raise UserError("it is an adapter itself")
        return locate(base)
    except UserError as error:
        raise UserError(
            f"backbone {source!r} is an adapter of {base!r}, which cannot be loaded "
            f"({error.message}); set base_model_name_or_path in its {ADAPTER} to the folder of the "
            "base model"
        ) from error


def _check_hub(source: str) -> None:
    """Fails early and in one line, where transformers would try again and again."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(source, "config.json"), str):
        return
    try:
        HfApi().model_info(source, timeout=10)
    except Exception as error:  # no network, no such model, or one that asks for a token
        raise UserError(
            f"backbone {source!r} is neither shipped nor a directory, and the hub does not give "
            f"it ({_first_line(error)}); download it elsewhere and name its directory"
        ) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
