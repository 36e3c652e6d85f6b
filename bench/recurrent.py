"""Recurrent backbones: LSTM and GRU language models whose cells are written on `nn.Linear`.

torch's fused cells have no double backward under batching; these are plain operations. Importing
this module registers the architecture, so that `AutoModelForCausalLM` loads its folders.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from bench.batches import padded
from bench.causal import CausalBackbone
from bench.per_task import Parameters, Sites
from bench.steps import Steps
from bench.ways import Ways
from bench.wrapping import Languages

State = tuple[Tensor, ...]  # each (rows, hidden)


class Cell(nn.Module, ABC):
    """One layer: its two projections, in torch's order of gates and names of none."""

    gates: int  # blocks of `hidden` in a projection

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.of_input = nn.Linear(hidden, self.gates * hidden)
        self.of_state = nn.Linear(hidden, self.gates * hidden)

    @abstractmethod
    def zeros(self, rows: Tensor) -> State:
        """The state before the first token, for rows of (rows, tokens, hidden)."""

    @abstractmethod
    def step(self, projected: Tensor, state: State) -> State:
        """The next state, its output first; `projected` is (rows, gates x hidden)."""

    def forward(
        self, values: Tensor, state: State | None, mask: Tensor | None
    ) -> tuple[Tensor, State]:
        """Outputs (rows, tokens, hidden) and the last state; where `mask` (rows, tokens) is
        false, the state stays what it was."""
        state = self.zeros(values) if state is None else state
        outputs = []
        # The input's part of all places is one product.
        for place, projected in enumerate(self.of_input(values).unbind(1)):
            new = self.step(projected, state)
            if mask is not None:
                here = mask[:, place, None]
                new = tuple(torch.where(here, n, o) for n, o in zip(new, state, strict=True))
            state = new
            outputs.append(state[0])
        return torch.stack(outputs, 1), state


class LstmCell(Cell):
    """Hochreiter and Schmidhuber 1997 with forget gates (Gers et al. 2000), as `torch.nn.LSTM`."""

    gates = 4

    def keep_memory(self) -> None:
        """Opens the forget gates of a new cell (Jozefowicz et al. 2015); a checkpoint's own
        values are read later."""
        with torch.no_grad():
            self.of_input.bias[self.hidden : 2 * self.hidden] = 1.0

    def zeros(self, rows: Tensor) -> State:
        """Output and memory."""
        zero = rows.new_zeros(len(rows), self.hidden)
        return zero, zero

    def step(self, projected: Tensor, state: State) -> State:
        """Gates: input, forget, candidate, output."""
        output, memory = state
        i, f, g, o = (projected + self.of_state(output)).chunk(4, -1)
        memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
        return o.sigmoid() * memory.tanh(), memory


class GruCell(Cell):
    """Cho et al. 2014, with the reset gate behind the product, as `torch.nn.GRU`."""

    gates = 3

    def zeros(self, rows: Tensor) -> State:
        """The output is all there is."""
        return (rows.new_zeros(len(rows), self.hidden),)

    def step(self, projected: Tensor, state: State) -> State:
        """Gates: reset, update, candidate."""
        (output,) = state
        r, z, n = projected.chunk(3, -1)
        state_r, state_z, state_n = self.of_state(output).chunk(3, -1)
        candidate = (n + (r + state_r).sigmoid() * state_n).tanh()
        update = (z + state_z).sigmoid()
        return (candidate + update * (output - candidate),)


CELLS: dict[str, type[Cell]] = {"lstm": LstmCell, "gru": GruCell}


class RecurrentConfig(PreTrainedConfig):  # type: ignore[misc]
    """Shape of a recurrent language model; `cell` is lstm or gru. Embeddings are tied."""

    model_type = "recurrent"
    cell: str = "lstm"
    vocab_size: int = 1024
    hidden_size: int = 128
    num_hidden_layers: int = 2
    max_position_embeddings: int = 1024
    tie_word_embeddings: bool = True


@dataclass
class RecurrentOutput(ModelOutput):  # type: ignore[misc]
    """`logits` (rows, tokens, vocabulary) and the state of every layer behind the last token."""

    logits: Tensor | None = None
    state: Any = None


class RecurrentForCausalLM(PreTrainedModel):  # type: ignore[misc]
    """Embedding, layers of cells with a residual path, the embedding again as the head."""

    config_class = RecurrentConfig
    base_model_prefix = "recurrent"
    main_input_name = "input_ids"
    _tied_weights_keys = {"head.weight": "embedding.weight"}  # noqa: RUF012

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        if config.cell not in CELLS:
            raise ValueError(f"cell = {config.cell!r}; allowed are {', '.join(CELLS)}")
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            CELLS[config.cell](config.hidden_size) for _ in range(config.num_hidden_layers)
        )
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
        for layer in self.layers:
            if isinstance(layer, LstmCell):
                layer.keep_memory()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.hidden_size**-0.5)
        elif isinstance(module, nn.Linear) and module is not self.head:
            bound = self.config.hidden_size**-0.5  # as torch's recurrent layers
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.uniform_(module.bias, -bound, bound)

    def get_input_embeddings(self) -> nn.Embedding:
        """The embedding of tokens."""
        return self.embedding

    def get_output_embeddings(self) -> nn.Linear:
        """The head, whose weight is the embedding's."""
        return self.head

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        state: Sequence[State] | None = None,
        use_cache: bool = False,
    ) -> RecurrentOutput:
        """Logits for every place of `input_ids` (rows, tokens), going on from `state`."""
        values = self.embedding(input_ids)
        mask = None if attention_mask is None else attention_mask.bool()
        states = []
        for number, layer in enumerate(self.layers):
            outputs, last = layer(values, state[number] if state else None, mask)
            values = values + outputs
            states.append(last)
        return RecurrentOutput(logits=self.head(values), state=states)


AutoConfig.register(RecurrentConfig.model_type, RecurrentConfig, exist_ok=True)
AutoModelForCausalLM.register(RecurrentConfig, RecurrentForCausalLM, exist_ok=True)


class RecurrentSteps(Steps):
    """A recurrent model: the state is all that it carries from token to token."""

    def __init__(
        self, model: Any, sites: Sites, weights: Parameters, ids: Tensor, mask: Tensor
    ) -> None:
        super().__init__(model, sites, weights, len(ids))
        self._ids, self._mask = ids, mask

    def first(self) -> Tensor:
        """Reads the prompts, which end in one column."""
        return self._went_on(self._read(self.rows, input_ids=self._ids, attention_mask=self._mask))

    def next(self, tokens: Tensor) -> Tensor:
        """One more token."""
        made = self._read(self.rows, input_ids=tokens[:, None], state=self._state)
        return self._went_on(made)

    def _went_on(self, made: RecurrentOutput) -> Tensor:
        self._state: list[State] = made.state
        assert made.logits is not None
        return made.logits[:, -1]

    def _select(self, index: Tensor) -> None:
        self._state = [tuple(part[index] for part in layer) for layer in self._state]


class RecurrentBackbone(CausalBackbone):
    """A recurrent language model: generation carries the state from token to token."""

    fastest: ClassVar[Ways] = Ways(lines=False)
    steps_need_lines: ClassVar[bool] = False

    def steps(
        self,
        weights: Parameters,
        prompts: Sequence[list[int]],
        runs: int,
        most: int,
        languages: Sequence[Languages] | None = None,
    ) -> Steps:
        """Prompts that end in one column, with a mask."""
        width = max(map(len, prompts))
        lacking = [width - len(row) for row in prompts]
        rows = [[self.pad] * more + row for more, row in zip(lacking, prompts, strict=True)]
        mask = [[0] * more + [1] * (width - more) for more in lacking]
        made = (padded(part, 0, self.device) for part in (rows, mask))
        return RecurrentSteps(self.model, self.sites, weights, *made)
