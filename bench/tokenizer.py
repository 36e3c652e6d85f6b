"""A byte-level subword tokenizer, trained on the text of a backbone."""

from collections.abc import Iterable
from typing import Any

# Words with the space, hyphen or apostrophe before them; numbers digit by digit; line breaks
# whole, so that a separator is one token.
PIECES = r"\n+|[ '\-]?[\p{L}\p{M}]+| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s"
START, END, PAD = "<s>", "</s>", "<pad>"


def train_tokenizer(texts: Iterable[str], vocabulary: int, positions: int) -> Any:
    """A `PreTrainedTokenizerFast` of at most `vocabulary` tokens that loses no character.

    Args:
        texts: what to train on.
        vocabulary: tokens, 256 bytes and three special ones among them.
        positions: the model's context, noted as the tokenizer's maximum.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[START, END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        pad_token=PAD,
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )
