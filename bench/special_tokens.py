"""The tokens by which a checkpoint begins and ends an answer, read from its model, generation
config and tokenizer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from bench.errors import UserError


@dataclass(frozen=True)
class SpecialTokens:
    """What belongs to a model's language, whatever the decoding settings.

    Attributes:
        ends: tokens that end an answer.
        start: what a decoder reads before its first token; None for decoder-only models.
        start_named: whether the checkpoint names `start`; else it is the BOS token.
        forced: the first token of every answer; None where the model is free.
        suppressed: tokens that the model never writes.
    """

    ends: frozenset[int]
    start: int | None = None
    start_named: bool = True
    forced: int | None = None
    suppressed: tuple[int, ...] = ()


def special_tokens(model: Any, tokenizer: Any) -> SpecialTokens:
    """The special tokens of a checkpoint, as transformers' `generate` resolves them.

    A decoder starts with the generation config's `decoder_start_token_id`, else that of the
    config, else the BOS token. All end tokens of the config, the generation config and the
    tokenizer end an answer. `forced_eos_token_id` is not followed: an answer of the maximum length
    counts as cut off, whatever the model.

    Raises:
        UserError: an encoder-decoder model that names no start, or one that it has no token for.
    """
    generation = getattr(model, "generation_config", None)
    return _resolved(model, tokenizer, generation)


def from_config(model: Any, tokenizer: Any) -> SpecialTokens | None:
    """The special tokens that the config and the tokenizer alone would give; None where they do
    not tell how a decoder starts."""
    from transformers import GenerationConfig

    try:
        return _resolved(model, tokenizer, GenerationConfig.from_model_config(model.config))
    except UserError:
        return None


def _resolved(model: Any, tokenizer: Any, generation: Any) -> SpecialTokens:
    config, known = model.config, _vocabulary(model)
    ends = {int(tokenizer.eos_token_id), *_ids(config, "eos_token_id")}
    ends |= {*_ids(generation, "eos_token_id")}
    made = SpecialTokens(frozenset(token for token in ends if 0 <= token < known))
    if not config.is_encoder_decoder:
        return made
    start, named = _start(model, generation)
    return replace(
        made,
        start=start,
        start_named=named,
        forced=next(_ids(generation, "forced_bos_token_id"), None),
        suppressed=tuple(sorted({*_suppressed(generation)} - made.ends)),
    )


def _start(model: Any, generation: Any) -> tuple[int, bool]:
    """What the decoder starts with, and whether it is named as that."""
    places = [
        (generation, "decoder_start_token_id"),
        (model.config, "decoder_start_token_id"),
        (generation, "bos_token_id"),
        (model.config, "bos_token_id"),
    ]
    for holder, name in places:
        for token in _ids(holder, name):
            if not 0 <= token < (known := _vocabulary(model)):
                raise UserError(
                    f"{name} = {token} is none of the {known} tokens of {type(model).__name__}; "
                    "set it in the checkpoint's config.json and generation_config.json"
                )
            return token, name == "decoder_start_token_id"
    raise UserError(
        f"{type(model).__name__} names no token that its decoder starts with; set "
        "decoder_start_token_id in the checkpoint's config.json or generation_config.json"
    )


def _suppressed(generation: Any) -> Iterator[int]:
    """Tokens that the checkpoint never writes; Marian lists its padding so."""
    yield from _ids(generation, "suppress_tokens")
    for word in getattr(generation, "bad_words_ids", None) or ():
        if len(word) == 1:
            yield int(word[0])


def _ids(holder: Any, name: str) -> Iterator[int]:
    """The token or tokens of that name."""
    value = getattr(holder, name, None)
    if isinstance(value, list | tuple):
        yield from map(int, value)
    elif value is not None:
        yield int(value)


def _vocabulary(model: Any) -> int:
    """Tokens that the model can write."""
    head = model.get_output_embeddings()
    layer = model.get_input_embeddings() if head is None else head
    return int(layer.weight.shape[0])


def not_followed(model: Any) -> list[str]:
    """Names of the settings by which a checkpoint keeps `generate` from writing some tokens, and
    which answers here do not follow."""
    generation = getattr(model, "generation_config", None)
    names = ["begin_suppress_tokens"]
    long = any(len(word) > 1 for word in getattr(generation, "bad_words_ids", None) or ())
    if not model.config.is_encoder_decoder:
        names = ["begin_suppress_tokens", "suppress_tokens", "bad_words_ids"]
    elif long:
        names.append("bad_words_ids")
    return [name for name in names if getattr(generation, name, None) not in (None, [])]


def clean_generation_config(model: Any, tokens: SpecialTokens) -> Any:
    """A generation config with these tokens and without the checkpoint's decoding settings, such
    as penalties, sampling or lengths."""
    made = type(model.generation_config)()
    made.eos_token_id = sorted(tokens.ends)
    made.decoder_start_token_id = tokens.start
    made.forced_bos_token_id = tokens.forced
    made.suppress_tokens = list(tokens.suppressed) or None
    return made
