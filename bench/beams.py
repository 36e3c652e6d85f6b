"""Beam search for the prompts of many adapted models at once.

The rules are those of transformers' `generate` with `num_beams`, `early_stopping=False` and
`length_penalty=1.0`: an answer's score is the mean of its tokens' log-probabilities, and a prompt
is done when its likeliest beam, were it to end now, would be no better than the worst of its
`beams` best answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.decoding import Ended, remaining
from bench.steps import Steps

NONE = -1.0e9  # the score of a beam or an answer that is none


@dataclass
class _Beams:
    """What goes on or has ended: `tokens` (prompts, beams, most), best first, their `scores`
    (prompts, beams), and whether they are `real` answers (prompts, beams)."""

    tokens: Tensor
    scores: Tensor
    real: Tensor

    def best(self, count: int) -> tuple["_Beams", Tensor]:
        """The `count` best of each prompt, and where (prompts, count) they stood."""
        index = self.scores.topk(count)[1]
        return self.at(index), index

    def at(self, index: Tensor) -> "_Beams":
        """Those at places (prompts, count)."""
        places = index[..., None].expand(-1, -1, self.tokens.shape[2])
        tokens = self.tokens.gather(1, places)
        return _Beams(tokens, self.scores.gather(1, index), self.real.gather(1, index))

    def __add__(self, other: "_Beams") -> "_Beams":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Beams(*(torch.cat(pair, 1) for pair in pairs))

    def of(self, prompts: Tensor) -> "_Beams":
        """Those of some prompts."""
        return _Beams(*(part[prompts] for part in vars(self).values()))


def beam_search(
    steps: Steps,
    runs: int,
    fillers: Sequence[int],
    most: int,
    pad: int,
    ended: Ended,
    beams: int,
    ends: int,
    broken: Tensor | None = None,
) -> Tensor:
    """The best answer of up to `most` tokens to each prompt, (prompts, most), filled up with `pad`.

    A prompt that is done leaves the batch with all its beams, as soon as enough have, as in
    `one_by_one`, which says what the other arguments are.

    Args:
        beams: how many beginnings each prompt goes on with.
        ends: how many tokens end a sequence: so many more candidates are looked at.
        broken: (prompts,), set to True in place where a logit is NaN or infinite.
    """
    logits, width = steps.first(), 1  # rows a prompt: the beams of a prompt are not yet apart
    prompts = torch.arange(steps.rows, device=logits.device)
    answers = torch.full((len(prompts), most), pad, device=logits.device)
    done = torch.zeros_like(prompts, dtype=torch.bool)
    done[torch.tensor(fillers, dtype=torch.long, device=logits.device)] = True
    none = torch.full((len(prompts), beams), NONE, device=logits.device)
    found = _Beams(answers[:, None].expand(-1, beams, -1), none, none > 0)
    running = _Beams(found.tokens, none.clone(), found.real)
    running.scores[:, 0] = 0.0  # the others would be the same beam again
    for place in range(most):
        made, parents = _candidates(running, logits, max(2, 1 + ends) * beams, place)
        if broken is not None:
            broken[prompts] |= made.scores[:, 0].isnan() & ~done
        stop = ended(made.tokens[:, :, : place + 1].flatten(0, 1)).view_as(made.real)
        stop = stop | (place + 1 == most)
        found = _with_ended(found, made, stop, done, place + 1)
        answers[prompts] = found.tokens[:, 0]
        running, index = _Beams(made.tokens, made.scores + NONE * stop, made.real).best(beams)
        worst = found.scores.min(1).values.where(found.real.all(1), NONE)
        done = done | (running.scores[:, 0] / (place + 1) <= worst)
        if place + 1 == most or bool(done.all()):
            break
        parents = parents.gather(1, index)
        left = remaining(done.view(runs, -1))
        tasks, kept = left or (None, torch.arange(len(prompts), device=logits.device))
        rows = (kept[:, None] * width + parents[kept] % width).flatten()
        if left or width < beams:
            steps.keep(rows, tasks if left and len(left[0]) < runs else None)
        else:
            steps.reorder(rows)
        if left:
            runs, prompts, done = len(left[0]), prompts[kept], done[kept]
            running, found = running.of(kept), found.of(kept)
        logits, width = steps.next(running.tokens[:, :, place].flatten()), beams
    return answers


def _candidates(running: _Beams, logits: Tensor, count: int, place: int) -> tuple[_Beams, Tensor]:
    """The `count` likeliest ways to go on with the beams of each prompt, best first, and the beam
    (prompts, count) that each goes on with; `logits` (rows, vocabulary) are of every beam, or of
    each prompt once."""
    logs = logits.float().log_softmax(-1).view(len(running.scores), -1, logits.shape[-1])
    scores, flat = (logs + running.scores[..., None]).flatten(1).topk(count)
    parents, tokens = flat // logits.shape[-1], flat % logits.shape[-1]
    made = running.at(parents)
    made.tokens[:, :, place], made.scores = tokens, scores
    return made, parents


def _with_ended(found: _Beams, made: _Beams, stop: Tensor, done: Tensor, length: int) -> _Beams:
    """The best answers with the candidates that end here, if these are among the first `beams`;
    prompts that are done keep what they have."""
    beams = found.scores.shape[1]
    new = stop & ~done[:, None] & (torch.arange(stop.shape[1], device=stop.device) < beams)
    scores = (made.scores / length).where(new, NONE)
    return (found + _Beams(made.tokens, scores, new)).best(beams)[0]
