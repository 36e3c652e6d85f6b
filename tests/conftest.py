"""Small models and tasks that many tests share."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from bench.backbone import Backbone
from bench.causal import CausalBackbone
from bench.checkpoints import auto_class, backbone_of, register
from bench.prompt import Prompt
from bench.tasks import Example
from bench.tokenizer import train_tokenizer
from bench.training import TaskLoss
from tests.in_process import PROCESS, InProcessWorker, workers_are

# What `evaluate` makes of a metric's script goes to one folder a test run, not to the user's
# cache; both are read when the libraries are imported, in worker processes too.
CACHE = tempfile.mkdtemp(prefix="fewgen-tests-")
os.environ["HF_MODULES_CACHE"] = os.path.join(CACHE, "modules")
os.environ["HF_METRICS_CACHE"] = os.path.join(CACHE, "metrics")
os.environ["FEWGEN_CACHE"] = os.path.join(CACHE, "fewgen")
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)

# The models are so small that a second thread only waits, and on a busy machine for long.
torch.set_num_threads(1)

PAIRS = [
    ("the goat sees a lamp", "mira lod kanu"),
    ("a bird finds the rope", "tesh vo rima lod"),
    ("the old fox runs", "goru mira"),
    ("some boats move", "kanu kanu tesh"),
    ("the lamp moves a bird", "lod vo kanu mira"),
    ("a goat runs", "rima mira"),
]


@pytest.fixture(scope="session", autouse=True)
def _jobs_in_process() -> Iterator[None]:
    """Runs work in this process, unless a test asks for `worker_processes`."""
    with workers_are(InProcessWorker):
        yield


@pytest.fixture
def worker_processes() -> Iterator[None]:
    """Real workers, for tests of what only processes do."""
    with workers_are(PROCESS):
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Some commands set the number of threads of their process, which is that of all later tests;
    threads of several test processes would wait for one another."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    return [Example(text, (target,), f"e{i}", f"g{i}") for i, (text, target) in enumerate(PAIRS)]


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return train_tokenizer([f"{a} => {b}\n\n" for a, b in PAIRS], 320, 128)


def build(kind: str, tokenizer: Any, dtype: torch.dtype = torch.float64) -> Any:
    """A very small model with tied embeddings."""
    from transformers import BartConfig, GPT2Config, LlamaConfig, T5Config

    from bench.recurrent import RecurrentConfig

    register()
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    size = len(tokenizer)
    config = {
        "gpt2": GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=128, **ids),
        "llama": LlamaConfig(
            vocab_size=size,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            **ids,
        ),
        "t5": T5Config(
            vocab_size=size,
            d_model=16,
            d_kv=8,
            d_ff=24,
            num_layers=2,
            num_heads=2,
            dropout_rate=0.0,
            decoder_start_token_id=2,
            **ids,
        ),
        "bart": BartConfig(
            vocab_size=size,
            d_model=16,
            encoder_layers=1,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=24,
            decoder_ffn_dim=24,
            max_position_embeddings=128,
            dropout=0.0,
            # As BART's own. Were it the padding, whose embedding torch leaves without a gradient,
            # no gradient could equal differences.
            decoder_start_token_id=1,
            forced_eos_token_id=None,
            **ids,
        ),
        "lstm": RecurrentConfig(vocab_size=size, cell="lstm", hidden_size=16, **ids),
        "gru": RecurrentConfig(vocab_size=size, cell="gru", hidden_size=16, **ids),
    }[kind]
    torch.manual_seed(0)
    model = auto_class(config).from_config(config)
    if dtype == torch.float64:
        _keep_float64(model)
    return model.to(dtype)


def _keep_float64(model: Any) -> None:
    """transformers' RMS norm goes through float32, too coarse for differences; torch's does not."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ in ("LlamaRMSNorm", "T5LayerNorm"):
                norm = torch.nn.RMSNorm(child.weight.shape, eps=child.variance_epsilon)
                setattr(module, name, norm)


@pytest.fixture(params=["gpt2", "llama", "t5", "bart", "lstm", "gru"])
def backbone(request: pytest.FixtureRequest, tokenizer: Any) -> Backbone:
    return backbone_of(build(request.param, tokenizer), tokenizer, Prompt())


@pytest.fixture
def task(backbone: Backbone, examples: list[Example]) -> TaskLoss:
    """Four examples of support, two of query."""
    return TaskLoss(backbone, [(examples[:4], examples[4:])])


@pytest.fixture
def plain(backbone: Backbone, examples: list[Example]) -> Any:
    """Support and query loss of the same task, independently."""
    from tests.proofs import plain_loss

    return (
        lambda weights: plain_loss(backbone, weights, examples[:4]),
        lambda weights: plain_loss(backbone, weights, examples[4:]),
    )


@pytest.fixture
def llama(tokenizer: Any) -> CausalBackbone:
    return CausalBackbone(build("llama", tokenizer, torch.float32), tokenizer, Prompt())


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> str:
    """A folder as users have it: written by `save_pretrained`."""
    folder = tmp_path_factory.mktemp("checkpoint") / "small-gpt2"
    build("gpt2", tokenizer, torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


RECIPE = """
[model]
model_type = "llama"
hidden_size = 32
intermediate_size = 48
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 2
max_position_embeddings = 1024
tie_word_embeddings = true
[tokenizer]
vocabulary = 800
[training]
tokens = 3000
rate = 1e-3
rows = 8
in_context = 0.5
examples = 3
tasks = 8
seed = 0
"""


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder as those that ship: what `fewgen pretrain` leaves, and the recipe. It reads the text
    of few tasks, so that pre-training by it takes a second."""
    from click.testing import CliRunner

    from bench.cli import main

    recipe = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    recipe.write_text(RECIPE)
    folder = recipe.parent / "small-llama"
    words = ["pretrain", "--suite", "writing", "--backbone", str(recipe), "--out", str(folder)]
    result = CliRunner().invoke(main, [*words, "--threads", "1"])
    assert result.exit_code == 0, result.output
    shutil.copy(recipe, folder)
    return str(folder)
