"""Which weights an inner loop changes: all, the head, the body, or low-rank adapters."""

import copy
import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.backbone import Backbone
from bench.errors import UserError
from bench.streams import Stream
from bench.tasks import Example

Part = Literal["all", "head", "body", "lora"]
Head = Literal["lm_head", "norm", "block"]


def _copied(backbone: Backbone) -> Backbone:
    """The same backbone with a model of its own, that may be altered."""
    ways = backbone.ways
    made = type(backbone)(copy.deepcopy(backbone.model), backbone.tokenizer, backbone.prompt)
    made.notes, made.mean = backbone.notes, backbone.mean
    made.decoding = backbone.decoding
    made.use(ways)
    if named := backbone.named_languages:
        made.name_languages(*named)
    return made


# -- head and body -------------------------------------------------------------------------


def untied(backbone: Backbone) -> Backbone:
    """A backbone whose output layer has a weight of its own, which starts as the embedding's: a
    head that is also the embedding could not move alone."""
    made = _copied(backbone)
    layer = made.output_layer()
    others = [p for m in made.model.modules() if m is not layer for p in m.parameters(False)]
    if any(layer.weight is other for other in others):
        layer.weight = nn.Parameter(layer.weight.detach().clone())
    return made


def head_names(backbone: Backbone, head: Head) -> list[str]:
    """Names of the head's weights: the output layer; with the norm before it; or with the last
    block and that norm.

    Raises:
        UserError: the model has no such part.
    """
    modules: list[Any] = [backbone.output_layer()]
    if head != "lm_head":
        blocks, norms = _blocks(backbone.model)
        if head == "norm" and not norms:
            kind = type(backbone.model).__name__
            raise UserError(
                f"{kind} has no norm behind its last block; set head to lm_head or block"
            )
        modules += norms if head == "norm" else [*norms, blocks[-1]]
    chosen = {id(p) for module in modules for p in module.parameters()}
    return [name for name, p in backbone.model.named_parameters() if id(p) in chosen]


def _blocks(model: Any) -> tuple[nn.ModuleList, list[nn.Module]]:
    """The blocks of a language model's decoder and the norms behind the last."""
    decoder = model.get_decoder() if model.config.is_encoder_decoder else model
    for parent in decoder.modules():
        children = list(parent.named_children())
        for place, (_, child) in enumerate(children):
            if isinstance(child, nn.ModuleList):
                behind = children[place + 1 :]
                norms = [m for name, m in behind if _is_norm(name, m)]
                return child, norms
    raise UserError(f"{type(model).__name__} has no list of blocks; set head to lm_head")


def _is_norm(name: str, module: nn.Module) -> bool:
    """A norm with weights, and not the one that BART sets behind its embeddings."""
    return "norm" in type(module).__name__.lower() and "embed" not in name


# -- low-rank adapters ---------------------------------------------------------------------


class LoraLayer(nn.Module):
    """A linear layer with a low-rank path beside it (Hu et al. 2021): base(x) + scale * B A x.

    Names and shapes are those that `peft` gives: `base_layer`, `lora_A.default.weight` (rank, in),
    `lora_B.default.weight` (out, rank). B starts at 0, so the layer starts as its base.
    """

    def __init__(self, base: nn.Module, rank: int, alpha: float) -> None:
        super().__init__()
        weight: Tensor = base.weight  # type: ignore[assignment]
        inner, outer = weight.shape if _transposed(base) else weight.shape[::-1]
        kind = {"dtype": weight.dtype, "device": weight.device}
        self.base_layer, self.scale = base, alpha / rank
        self.lora_A = nn.ModuleDict({"default": nn.Linear(inner, rank, bias=False, **kind)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, outer, bias=False, **kind)})
        nn.init.zeros_(self.lora_B.get_parameter("default.weight"))

    @property
    def weight(self) -> Any:
        """The base's: models look at its dtype."""
        return self.base_layer.weight

    @property
    def bias(self) -> Any:
        """The base's."""
        return self.base_layer.bias

    def forward(self, values: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        low = self.lora_B["default"](self.lora_A["default"](values))
        out: Tensor = self.base_layer(values) + self.scale * low
        return out

    def merged(self) -> Tensor:
        """The base's weight with the low-rank path in it, in the base's shape."""
        after, before = (m.get_parameter("default.weight") for m in (self.lora_B, self.lora_A))
        path = self.scale * after @ before
        merged: Tensor = self.weight + (path.T if _transposed(self.base_layer) else path)
        return merged


def _transposed(layer: nn.Module) -> bool:
    """GPT-2 keeps (in, out)."""
    return type(layer).__name__ == "Conv1D"


def with_adapters(backbone: Backbone, rank: int, alpha: float) -> Backbone:
    """A backbone with a low-rank path beside every linear layer but the output's. Layers whose
    weight the model reads without calling them, as Mamba does, would ignore such a path and have
    none; nor have those that no text reaches."""
    made = _copied(backbone)
    called = _called_layers(made)
    for parent, name, layer in list(_linear_layers(made)):
        if layer in called:
            setattr(parent, name, LoraLayer(layer, rank, alpha))
    made.use(made.ways)  # the places of its weights are others now
    return made


def _called_layers(backbone: Backbone) -> set[nn.Module]:
    """The layers that are called for a short text, and all those of experts, of which a text
    reaches some."""
    called = {m for path, m in backbone.model.named_modules() if "expert" in path.lower()}
    hooks = [
        m.register_forward_pre_hook(lambda layer, given: called.add(layer))
        for m in backbone.model.modules()
    ]
    try:
        batch, _ = backbone.batch([[Example("a b", ("c",), "", "")]])
        with torch.no_grad():
            backbone.losses(dict(backbone.model.named_parameters()), batch)
    finally:
        for hook in hooks:
            hook.remove()
    return called


def _linear_layers(backbone: Backbone) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    head = backbone.output_layer()
    for parent in backbone.model.modules():
        for name, child in parent.named_children():
            linear = isinstance(child, nn.Linear) or _transposed(child)
            if linear and child is not head:
                yield parent, name, child


def adapter_names(backbone: Backbone) -> list[str]:
    """Names of the weights of low-rank paths."""
    return [name for name, _ in backbone.model.named_parameters() if ".lora_" in name]


def draw_adapters(weights: dict[str, Tensor], seed: int) -> None:
    """New values for every A, uniform as peft draws them, in place; B stays 0."""
    for name, weight in weights.items():
        if ".lora_A." in name:
            generator = torch.Generator().manual_seed(Stream(seed, "lora", name).torch_seed())
            bound = 1 / math.sqrt(weight.shape[1])  # kaiming_uniform with a = sqrt(5)
            drawn = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
            weight.copy_((2 * drawn - 1) * bound)
