"""Small random models of many architectures: what each is asked, and what it must equal.

Every architecture answers zero-shot and in context, is fine-tuned and adapted by LoRA, two tasks at
once. The reference is transformers' own model with the same weights, one row at a time: its logits,
plain autograd per task, its `generate`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from baselines.fine_tuned import FineTuned
from bench.backbone import Backbone
from bench.checkpoints import auto_class, backbone_of
from bench.errors import UserError
from bench.prompt import Prompt
from bench.tasks import Example
from bench.training import TaskLoss

LENGTH = 6  # tokens of an answer
RATE, STEPS = 0.05, 2
IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}

# Names of sizes differ between architectures: what most decoders understand, and what most
# encoder-decoders do.
DECODER = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 128,
}
HEADS = {**DECODER, "head_dim": 8}
ALL_HEADS = {**HEADS, "num_key_value_heads": 2}
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 128}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
PAIR = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 128,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
    "forced_bos_token_id": None,
    "is_encoder_decoder": True,
}
T5 = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 2,
}
BERT = {**DECODER, "is_decoder": True}

# In float64 transformers' own code overflows.
SINGLE = ("xglm", "fsmt", "led", "prophetnet")
# torch's grouped products know no float64.
EAGER = {"experts_implementation": "eager"}
BUILT = dict.fromkeys(
    ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "gpt_oss"), EAGER
)

# By family, the model types and what each is built with.
FAMILIES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "decoder, rotary positions": {
        "llama": HEADS,
        "qwen3": HEADS,
        "mistral": {**HEADS, "sliding_window": 8},
        "qwen2": DECODER,
        "gemma": HEADS,
        "gemma2": {**HEADS, "sliding_window": 8, "query_pre_attn_scalar": 8},
        "gemma3_text": {**HEADS, "sliding_window": 8, "query_pre_attn_scalar": 8},
        "phi": {**DECODER, "num_key_value_heads": 2},
        "phi3": DECODER,
        "stablelm": DECODER,
        "gpt_neox": {**DECODER, "rotary_pct": 0.5},
        "gptj": {**GPT, "rotary_dim": 4},
        "olmo": DECODER,
        "olmo2": DECODER,
        "cohere": DECODER,
        "starcoder2": DECODER,
        "nemotron": HEADS,
        "persimmon": DECODER,
        "granite": DECODER,
        "glm": HEADS,
        "smollm3": HEADS,
        "falcon": {**DECODER, "alibi": False},
        "helium": HEADS,
        "exaone4": {**HEADS, "sliding_window": 8},
    },
    "decoder, learned or sinusoidal positions": {
        "gpt2": GPT,
        "opt": {**DECODER, "ffn_dim": 24, "word_embed_proj_dim": 16},
        "gpt_neo": {
            "hidden_size": 16,
            "num_layers": 2,
            "num_heads": 2,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 8,
            "max_position_embeddings": 128,
        },
        "gpt_bigcode": GPT,
        "biogpt": DECODER,
        "openai-gpt": GPT,
        "ctrl": {**GPT, "dff": 24},
        "xglm": {"d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": 2},
    },
    "decoder, ALiBi": {
        "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
        "mpt": {"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 128},
    },
    "decoder of the BERT family": {
        "bert": BERT,
        "roberta": BERT,
        "electra": {**BERT, "embedding_size": 16},
    },
    "mixture of experts": {
        "mixtral": {**HEADS, "num_local_experts": 4},
        "qwen2_moe": {
            **DECODER,
            **EXPERTS,
            "num_experts": 4,
            "shared_expert_intermediate_size": 24,
        },
        "qwen3_moe": {**HEADS, **EXPERTS, "num_experts": 4},
        "olmoe": {**DECODER, "num_experts": 4, "num_experts_per_tok": 2},
        "granitemoe": {**DECODER, "num_local_experts": 4, "num_experts_per_tok": 2},
        "gpt_oss": {**HEADS, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8},
    },
    "state space and hybrids": {
        "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
        "falcon_mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
        "mamba2": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "state_size": 4,
            "num_heads": 4,
            "head_dim": 8,
            "n_groups": 1,
        },
        "rwkv": {"hidden_size": 16, "num_hidden_layers": 2, "context_length": 128},
        "recurrent_gemma": {
            **HEADS,
            "num_hidden_layers": 3,
            "lru_width": 16,
            "attention_window_size": 8,
        },
    },
    "encoder-decoder, relative positions": {
        "t5": T5,
        "mt5": T5,
        "umt5": T5,
        "longt5": T5,
        "switch_transformers": {**T5, "num_experts": 2},
    },
    "encoder-decoder, absolute positions": {
        "bart": PAIR,
        "marian": PAIR,
        "mbart": PAIR,
        "pegasus": PAIR,
        "blenderbot": PAIR,
        "blenderbot-small": PAIR,
        "m2m_100": PAIR,
        "nllb-moe": {
            **PAIR,
            "num_experts": 2,
            "expert_capacity": 64,
            "encoder_sparse_step": 2,
            "decoder_sparse_step": 2,
        },
        "fsmt": {**PAIR, "langs": ["en", "de"], "src_vocab_size": 320, "tgt_vocab_size": 320},
        "led": {
            **PAIR,
            "attention_window": 8,
            "max_encoder_position_embeddings": 128,
            "max_decoder_position_embeddings": 128,
        },
        "plbart": PAIR,
        "mvp": PAIR,
        "pegasus_x": {**PAIR, "block_size": 8, "num_global_tokens": 2},
        "bigbird_pegasus": {**PAIR, "attention_type": "original_full"},
        "prophetnet": {
            "hidden_size": 16,
            "num_encoder_layers": 2,
            "num_decoder_layers": 2,
            "num_encoder_attention_heads": 2,
            "num_decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24,
            "max_position_embeddings": 128,
            "decoder_start_token_id": 1,
            "disable_ngram_loss": True,
        },
    },
    "nested configurations": {
        "encoder-decoder": {},
        "gemma3": {},
    },
}
ARCHITECTURES = {name: family for family, names in FAMILIES.items() for name in names}


def configuration(name: str, size: int) -> Any:
    """The configuration of a small model with so many tokens."""
    from transformers import AutoConfig, BertConfig, EncoderDecoderConfig

    family = FAMILIES[ARCHITECTURES[name]]
    if name == "encoder-decoder":
        side = BertConfig(vocab_size=size, **DECODER, **IDS)
        made = EncoderDecoderConfig.from_encoder_decoder_configs(side, BertConfig(**side.to_dict()))
        made.decoder_start_token_id = 0
        for key, value in IDS.items():
            setattr(made, key, value)
        return made
    if name == "gemma3":
        text = {**HEADS, "sliding_window": 8, "vocab_size": size, **IDS}
        vision = {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "image_size": 28,
            "patch_size": 14,
        }
        return AutoConfig.for_model(
            "gemma3", text_config=text, vision_config=vision, mm_tokens_per_image=4, **IDS
        )
    return AutoConfig.for_model(name, vocab_size=size, **family[name], **IDS)


def small_model(name: str, size: int) -> Any:
    """A random model in float64, whose logits differ enough that a fault in one would be seen."""
    torch.manual_seed(0)
    config = configuration(name, size)
    model = auto_class(config).from_config(config, **BUILT.get(name, {})).eval()
    if name not in SINGLE:
        model.double()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1 and weight.requires_grad and 0 < weight.std() < 0.1:
                weight.mul_(0.25 / weight.std())
    return model


# -- the reference -------------------------------------------------------------------------


class Reference:
    """transformers' own model, one row at a time."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.weights = {name: w.detach() for name, w in model.named_parameters()}
        self.pair = model.config.is_encoder_decoder
        # Its cache has no place for a layer, whatever asks it to generate.
        self.cached = model.config.model_type != "switch_transformers"

    def _prompt(self, text: str, shown: Sequence[Example] = ()) -> list[int]:
        context = "".join(f"{e.input} => {e.target}\n\n" for e in shown)
        ids: list[int] = self.tokenizer(f"{context}{text} =>").input_ids
        return ids

    def loss(
        self, weights: Mapping[str, Tensor], rows: Sequence[Example], shown: Sequence[Example] = ()
    ) -> Tensor:
        """The mean over target tokens, log-softmax picked by hand."""
        losses = []
        for example in rows:
            prompt = self._prompt(example.input, shown)
            target = [*self.tokenizer(f" {example.target}").input_ids, 1]
            inputs = {"input_ids": torch.tensor([prompt + target])}
            first = len(prompt) - 1
            if self.pair:
                start = self.model.config.decoder_start_token_id
                inputs = {
                    "input_ids": torch.tensor([prompt]),
                    "decoder_input_ids": torch.tensor([[start, *target[:-1]]]),
                }
                first = 0
            out = functional_call(self.model, dict(weights), (), {**inputs, "use_cache": False})
            logs = out.logits[0].log_softmax(-1)
            losses += [-logs[first + place, token] for place, token in enumerate(target)]
        return torch.stack(losses).mean()

    def answers(
        self, weights: Mapping[str, Tensor], texts: Sequence[str], shown: Sequence[Example] = ()
    ) -> list[str]:
        """Greedy answers by `generate`, cut at the separator where examples are shown."""
        model = copy.deepcopy(self.model)
        model.load_state_dict(dict(weights), strict=False)
        model.tie_weights()
        made = []
        for text in texts:
            ids = torch.tensor([self._prompt(text, shown)])
            start = getattr(self.model.config, "decoder_start_token_id", None)
            out = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                num_beams=1,
                max_new_tokens=LENGTH,
                eos_token_id=1,
                pad_token_id=2,
                use_cache=self.cached,
                **({"decoder_start_token_id": start} if self.pair else {}),
            )
            new = out[0, 1 if self.pair else ids.shape[1] :].tolist()
            new = new[: new.index(1)] if 1 in new else new
            answer = self.tokenizer.decode(new, skip_special_tokens=True)
            made.append((answer.split("\n\n")[0] if shown else answer).strip())
        return made


def descent(loss: Callable[[Mapping[str, Tensor]], Tensor], weights: Mapping[str, Tensor]) -> Any:
    """Losses and weights of plain gradient descent by autograd."""
    now, losses = {n: w.clone().requires_grad_() for n, w in weights.items()}, []
    for _ in range(STEPS):
        value = loss(now)
        found = torch.autograd.grad(value, list(now.values()), materialize_grads=True)
        losses.append(value.detach())
        now = {
            n: (w - RATE * g).detach().requires_grad_()
            for (n, w), g in zip(now.items(), found, strict=True)
        }
    return torch.stack([*losses, loss(now).detach()]), {n: w.detach() for n, w in now.items()}


# -- the four questions --------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """How an architecture is read, in words, or why it is refused."""

    name: str
    family: str
    losses: str
    answers: str


def verdict(name: str, tokenizer: Any) -> Verdict:
    """What the check at load finds for the model in float32, as users load it."""
    family = ARCHITECTURES[name]
    backbone = backbone_of(small_model(name, len(tokenizer)).float(), tokenizer, Prompt())
    try:
        ways = backbone.ways
    except UserError as error:
        reason = error.message.split(": ")[0]  # without figures, which depend on the machine
        return Verdict(name, family, "refused", reason)
    losses = "task by task"
    if ways.tasks:
        losses = "all tasks at once" + (", without padding" if ways.lines else "")
        if backbone.sites.without:
            losses += "; task by task where all weights move"
    answers = {
        "steps": "own decoding",
        "padded": "`generate`",
        "alone": "`generate`, one prompt at a time",
    }
    return Verdict(name, family, losses, answers[ways.answers])


class Trial:
    """One architecture beside its reference."""

    def __init__(self, name: str, tokenizer: Any, examples: Sequence[Example]) -> None:
        model = small_model(name, len(tokenizer))
        self.reference = Reference(copy.deepcopy(model), tokenizer)
        self.backbone: Backbone = backbone_of(model, tokenizer, Prompt())
        # transformers' norms and attention go through float32 in places, whatever the dtype.
        self.tolerance = 1e-3 if name in SINGLE else 1e-5
        self.tasks = [list(examples[:2]), list(examples[2:3])]
        self.asked = [[examples[3].input, examples[0].input], [examples[4].input]]

    def zero_shot(self) -> None:
        weights = self.backbone.weights()
        self._equal(weights, [self.reference.weights] * 2)

    def in_context(self) -> None:
        supports = [self.tasks[0], self.tasks[1]]
        weights = self.backbone.weights()
        self._equal(weights, [self.reference.weights] * 2, supports)

    def fine_tuned(self) -> None:
        made, adapted = self._adapted(adapt="all")
        theirs = []
        for number, rows in enumerate(self.tasks):
            losses, weights = descent(
                lambda now, rows=rows: self.reference.loss(now, rows), self.reference.weights
            )
            self._same_course(made, adapted, number, losses, weights, self.reference.weights)
            theirs.append(weights)
        self._equal(adapted.weights, theirs)

    def lora(self) -> None:
        made, adapted = self._adapted(adapt="lora", rank=2, alpha=4.0)
        start = self.start.weights
        inner = {n: start[n] for n in self.start.inner}
        pairs = [n for n in inner if ".lora_A." in n]

        def merged(now: Mapping[str, Tensor]) -> dict[str, Tensor]:
            weights = dict(self.reference.weights)
            for name in pairs:
                path = 2.0 * now[name.replace("lora_A", "lora_B")] @ now[name]
                base = name.replace("lora_A.default.", "")
                layer = self.reference.model.get_submodule(base.removesuffix(".weight"))
                turned = type(layer).__name__ == "Conv1D"  # GPT-2's, whose weight is (in, out)
                weights[base] = weights[base] + (path.T if turned else path)
            return weights

        theirs = []
        for number, rows in enumerate(self.tasks):
            losses, weights = descent(
                lambda now, rows=rows: self.reference.loss(merged(now), rows), inner
            )
            self._same_course(made, adapted, number, losses, weights, inner)
            theirs.append(merged(weights))
        self._equal(adapted.weights, theirs, backbone=made)

    def _adapted(self, **options: Any) -> Any:
        learner = FineTuned(
            FineTuned.Options(inner_steps=STEPS, inner_rate=RATE, inner_rule="sgd", **options)
        )
        made = learner.prepare(self.backbone)
        self.start = learner.start(made, 0)
        loss = TaskLoss(made, [(rows, []) for rows in self.tasks]).support
        return made, learner.adapt(loss, self.start.for_tasks(2))

    def _same_course(
        self, made: Any, adapted: Any, number: int, losses: Tensor, weights: Any, before: Any
    ) -> None:
        """Losses before each step, and where the steps went: so gradients are compared."""
        ours = torch.stack([values[number] for values in adapted.losses])
        torch.testing.assert_close(ours, losses[:-1], rtol=self.tolerance, atol=0)
        moved = [(adapted.weights[n][number] - before[n]).flatten() for n in weights]
        wanted = [(w - before[n]).flatten() for n, w in weights.items()]
        apart = (torch.cat(moved) - torch.cat(wanted)).norm() / torch.cat(wanted).norm()
        assert float(apart) < 10 * self.tolerance, f"gradients differ by {float(apart):.1e}"

    def _equal(
        self, weights: Any, theirs: Sequence[Any], supports: Any = None, backbone: Any = None
    ) -> None:
        backbone = backbone or self.backbone
        batch, _ = backbone.batch(self.tasks, supports)
        with torch.no_grad():
            ours = backbone.losses(weights, batch)
            wanted = torch.stack(
                [
                    self.reference.loss(w, rows, shown)
                    for w, rows, shown in zip(theirs, self.tasks, supports or [()] * 2, strict=True)
                ]
            )
        torch.testing.assert_close(ours, wanted, rtol=self.tolerance, atol=0)
        answers = backbone.generate(weights, self.asked, LENGTH, supports)
        for made, w, texts, shown in zip(
            answers, theirs, self.asked, supports or [()] * 2, strict=True
        ):
            wanted_texts = self.reference.answers(w, texts, shown)
            assert made.texts == wanted_texts


QUESTIONS = ("zero_shot", "in_context", "fine_tuned", "lora")


def judged(name: str, tokenizer: Any, examples: Sequence[Example]) -> Verdict:
    """Tries an architecture; raises where it is not refused and differs from its reference."""
    found = verdict(name, tokenizer)
    if found.losses != "refused":
        trial = Trial(name, tokenizer, examples)
        for question in QUESTIONS:
            getattr(trial, question)()
    return found


PAGE = """# Architectures

fewgen loads checkpoints of `AutoModelForCausalLM` and `AutoModelForSeq2SeqLM`. Each checkpoint is
tried when it is loaded, and what a model cannot do on the fast path takes a slower one. The slower
path gives the same losses and answers, is noted before the run, and is recorded in the cells and
in `run.json` as `slower_path`. A model that differs from transformers on the slower path, too, is
refused.

This table lists the architectures that the tests try: a small random model of each answers
zero-shot and in context, is fine-tuned and adapted by LoRA, two tasks at once. Losses and gradients
equal plain autograd on transformers' own model, one row at a time; answers equal its `generate`. A
model type that is not listed may work as well: the check at load decides.

`scripts/publish_architectures.py` writes this page; do not edit it by hand.
"""


def page(verdicts: Sequence[Verdict]) -> str:
    """The table of what was found, in Markdown."""
    refused = sum(found.losses == "refused" for found in verdicts)
    lines = [PAGE, f"{len(verdicts)} architectures, {refused} of them refused."]
    for family in FAMILIES:
        lines += ["", f"## {family[0].upper()}{family[1:]}", ""]
        lines += ["| model type | losses | answers |", "| --- | --- | --- |"]
        lines += [row(found) for found in verdicts if found.family == family]
    return "\n".join(lines) + "\n"


def row(found: Verdict) -> str:
    """A line of the table."""
    return f"| `{found.name}` | {found.losses} | {found.answers} |"
