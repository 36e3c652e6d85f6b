"""Special tokens around the inputs and targets of a task, language codes among them.

Multilingual encoder-decoder models name languages by tokens: mBART behind a text, mBART-50, M2M100
and NLLB before it, multi-target Marian models the target's language before the input.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.errors import UserError
from bench.languages import code_among, normalised
from bench.special_tokens import SpecialTokens

Languages = tuple[str | None, str | None]  # of inputs and of targets: a tag or a tokenizer's code
UNSAID: Languages = (None, None)
# en_XX, eng_Latn; __en__; >>eng<<, >>cmn_Hans<<
_CODE = re.compile(r"(?:[a-z]{2,3}_[A-Z][A-Za-z]{1,3}|__[a-z]{2,3}(?:_[A-Z]{2})?__)")
_PREFIX = re.compile(r">>[A-Za-z]{2,3}(?:_[A-Za-z]+)?<<")
LISTED = 6  # codes that a message names


@dataclass(frozen=True)
class Wrapping:
    """Special tokens of an encoder-decoder model around one text and its answer.

    Attributes:
        head: before an input.
        tail: behind an input.
        target_head: before a target.
        target_tail: behind a target's end of sequence.
        start: what the decoder reads before its first token.
        forced: the first token of an answer; None where the model is free.
    """

    head: list[int]
    tail: list[int]
    target_head: list[int]
    target_tail: list[int]
    start: int
    forced: int | None


def surroundings(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer sets before and behind a text."""
    inner = tokenizer("a", add_special_tokens=False).input_ids
    whole = tokenizer("a").input_ids
    for start in range(len(whole) - len(inner) + 1):
        if whole[start : start + len(inner)] == inner:
            return whole[:start], whole[start + len(inner) :]
    return [], []


class Wrappings:
    """Makes the `Wrapping` of each pair of languages.

    Attributes:
        source: language of all inputs, in place of what the data say.
        target: language of all targets, in place of what the data say.
    """

    def __init__(self, tokenizer: Any, tokens: SpecialTokens) -> None:
        self._tokenizer, self._tokens = tokenizer, tokens
        self._head, self._tail = surroundings(tokenizer)
        self.source: str | None = None
        self.target: str | None = None
        self._made: dict[Languages, Wrapping] = {}

    def name(self, source: str | None, target: str | None) -> None:
        """Sets the languages of all inputs and all targets.

        Raises:
            UserError: the tokenizer does not know one of them.
        """
        self.source, self.target = source, target
        self._made.clear()
        self.of()

    @property
    def default(self) -> str:
        """The language of targets that nothing states."""
        around = self.of()
        written = [*around.target_head, *around.target_tail]
        known = {token: name for name, token in self.codes.items()}
        return next((known[t] for t in written if t in known), "whatever it chooses")

    @cached_property
    def codes(self) -> dict[str, int]:
        """The language codes that the tokenizer sets around a text; empty if it sets none."""
        found = {**_codes(self._tokenizer)}
        around = {*self._head, *self._tail}
        return found if around & {*found.values()} else {}

    @cached_property
    def prefixes(self) -> dict[str, int]:
        """The codes by which an input names the language of its target, as `>>fra<<`."""
        vocabulary = {} if self.codes else self._tokenizer.get_vocab()
        return {token: i for token, i in vocabulary.items() if _PREFIX.fullmatch(token)}

    @property
    def multilingual(self) -> bool:
        """Whether languages change anything."""
        return bool(self.codes or self.prefixes)

    @cached_property
    def wraps(self) -> bool:
        """Whether the language code behind a target is also what the decoder starts with, as in
        mBART: the checkpoint's start is a code, or it names none."""
        codes, tokens = {*self.codes.values()}, self._tokens
        return bool(codes & {*self._tail}) and (tokens.start in codes or not tokens.start_named)

    def of(self, languages: Languages = UNSAID) -> Wrapping:
        """The special tokens for the languages of an input and its target.

        A language that nothing states is the tokenizer's own for inputs, and for targets what the
        checkpoint forces, else the tokenizer's own.

        Raises:
            UserError: the tokenizer does not know one of them.
        """
        if not self.multilingual:
            languages = UNSAID
        if languages not in self._made:
            source, target = self.source or languages[0], self.target or languages[1]
            self._made[languages] = self._wrapping(source, target)
        return self._made[languages]

    def _wrapping(self, source: str | None, target: str | None) -> Wrapping:
        codes = {*self.codes.values()}
        tokens, own = self._tokens, [t for t in [*self._head, *self._tail] if t in codes]
        said = self._code("target", target, {**self.codes, **self.prefixes})
        here = self._code("source", source, self.codes) if self.codes else None
        head = [here if here is not None and t in codes else t for t in self._head]
        tail = [here if here is not None and t in codes else t for t in self._tail]
        if self.prefixes and said is not None:
            head, said = [said, *head], None
        assert tokens.start is not None
        behind = bool(codes & {*self._tail})
        if self.wraps:
            goal = next((t for t in [said, tokens.start] if t in codes), own[0])
            first = [] if tokens.forced is None else [tokens.forced]
            return Wrapping(head, tail, first, [goal], goal, tokens.forced)
        forced = tokens.forced if said is None else said
        plain = [t for t in self._head if t not in codes]
        if forced is None:  # nothing says it: as the tokenizer takes it, the source's
            return Wrapping(head, tail, self._head, own * behind, tokens.start, None)
        rest = plain[1:] if plain[:1] == [forced] else plain
        return Wrapping(head, tail, [forced, *rest], [], tokens.start, forced)

    def _code(self, side: str, language: str | None, codes: dict[str, int]) -> int | None:
        """The token of a language, which may also be one of the codes as it is.

        Raises:
            UserError: there is none.
        """
        if language is None or not codes:
            return None
        names = {name.strip("_<>").replace("_", "-"): token for name, token in codes.items()}
        plain = language.strip("_<>").replace("_", "-")
        for known in (codes.get(language), names.get(plain)):
            if known is not None:
                return known
        try:
            found = code_among(normalised(language), names)
        except ValueError:
            found = None
        if found is not None:
            return names[found]
        raise UserError(
            f"{side} language {language!r}: the backbone's tokenizer knows no such language "
            f"(close: {', '.join(_close(plain, codes))}); name one with --{side}-language"
        )


def _codes(tokenizer: Any) -> dict[str, int]:
    """All language codes of a tokenizer."""
    found = getattr(tokenizer, "lang_code_to_id", None)
    if not found:
        names = {*tokenizer.all_special_tokens, *map(str, tokenizer.get_added_vocab())}
        named = sorted(name for name in names if _CODE.fullmatch(name))
        found = {name: tokenizer.convert_tokens_to_ids(name) for name in named}
    return {name: int(i) for name, i in found.items() if i != tokenizer.unk_token_id}


def _close(language: str, codes: dict[str, int]) -> list[str]:
    """Codes that look most like a language."""
    from difflib import SequenceMatcher

    def likeness(code: str) -> float:
        return SequenceMatcher(None, language.lower(), code.strip("_<>").lower()).ratio()

    return sorted(codes, key=lambda code: (-likeness(code), code))[:LISTED]
