"""Pre-training: repeatable, resumable, on meta-train text alone; the shipped backbone is true."""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import bench.pretrain as pretrain
from bench.checkpoints import load_backbone, register
from bench.cli import main
from bench.context import dataset_of
from bench.episodes import draw_episode
from bench.errors import UserError
from bench.pretrain import Corpus, Pretraining, file_digest
from bench.prompt import Prompt
from bench.recipe import Recipe, _check_key, read_recipe
from bench.registry import backbone_path, load, names
from bench.tasks import SPLITS, Example, Task
from bench.tokenizer import train_tokenizer

WRONG = """[model]
{}
[tokenizer]
vocabulary = 400
[training]
tokens = 100
rate = 1e-3
rows = 2
in_context = 0.0
examples = 1
seed = 0
tasks = 2
"""
CPU = torch.device("cpu")
SHIPPED = names("backbone")
RECIPE = Recipe.model_validate(
    {
        "model": {
            "model_type": "llama",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 256,
            "tie_word_embeddings": True,
        },
        "tokenizer": {"vocabulary": 400},
        "training": {
            "tokens": 4000,
            "rate": 1e-3,
            "rows": 8,
            "in_context": 0.5,
            "examples": 4,
            "seed": 0,
        },
    }
)


@pytest.fixture(scope="module")
def datasets() -> dict[str, Any]:
    return {"translation": dataset_of("translation")}


@pytest.fixture(scope="module")
def few(datasets: dict[str, Any]) -> dict[str, Any]:
    return {"translation": Few(datasets["translation"])}


class Few:
    """A data set's first five meta-train tasks."""

    def __init__(self, data: Any) -> None:
        self.name, self.revision, self.task = data.name, data.revision, data.task
        self._names = data.names

    def names(self, split: str) -> list[str]:
        """At most five names."""
        return list(self._names(split)[:5])


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_stopped_training_ends_as_if_it_had_not(
    few: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(pretrain, "SAVE_EVERY", 3)
    whole = Pretraining(RECIPE, few, CPU)
    whole.run(tmp_path / "whole")
    assert whole.step > 8

    class Stop(Exception):
        pass

    def stop(fraction: float) -> None:
        if fraction > 0.6:
            raise Stop

    with pytest.raises(Stop):
        Pretraining(RECIPE, few, CPU).run(tmp_path / "stopped", stop)
    assert (tmp_path / "stopped" / "checkpoint.pt").exists()
    again = Pretraining(RECIPE, few, CPU)
    again.run(tmp_path / "stopped")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    assert not (tmp_path / "stopped" / "checkpoint.pt").exists()
    one, two = (
        json.loads((tmp_path / n / "training.json").read_text()) for n in ("whole", "stopped")
    )
    assert one == two


def test_another_trainings_checkpoint_is_refused(few: dict[str, Any], tmp_path: Path) -> None:
    first = Pretraining(RECIPE, few, CPU)
    first.advance()
    tmp_path.joinpath("out").mkdir()
    first._save(tmp_path / "out" / "checkpoint.pt")
    other = Pretraining(RECIPE.with_training(seed=1), few, CPU)
    with pytest.raises(UserError, match="another recipe"):
        other.run(tmp_path / "out")
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"checkpoint\.pt: damaged"):
        other.run(tmp_path / "out")


def test_a_finished_backbone_is_kept(few: dict[str, Any], tmp_path: Path) -> None:
    short = RECIPE.with_training(tokens=200)
    Pretraining(short, few, CPU).run(tmp_path)
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    same = Pretraining(short, few, CPU)
    same.run(tmp_path)
    assert (same.step, (tmp_path / "model.safetensors").stat().st_mtime_ns) == (0, before)
    with pytest.raises(UserError, match="holds a backbone of another recipe"):
        Pretraining(short.with_training(seed=9), few, CPU).run(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before


def test_examples_longer_than_the_context_are_cut_and_counted(tmp_path: Path) -> None:
    long = Example("goat " * 300, ("lamp " * 300,), "x", "x")

    class Long:
        name, revision = "long", "1"

        def names(self, split: str) -> list[str]:
            return ["a"]

        def task(self, name: str) -> Task:
            return Task(name, {"train": (long, long)})

    model = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    recipe = RECIPE.model_copy(update={"model": model}).with_training(tokens=500)
    training = Pretraining(recipe, {"translation": Long()}, CPU)
    training.run(tmp_path)
    assert training.truncated > 0
    assert json.loads((tmp_path / "training.json").read_text())["truncated"] == training.truncated
    assert int(training.batch(0).inputs["position_ids"].max()) < 64


def test_the_corpus_is_the_train_parts_of_meta_train_tasks(datasets: dict[str, Any]) -> None:
    data = datasets["translation"]
    names = data.names("meta-train")[:64]
    corpus = {(e.input, e.target) for task in Corpus.of(datasets, 64).tasks() for e in task}
    assert corpus == {(e.input, e.target) for n in names for e in data.task(n).parts["train"]}
    assert len(list(Corpus.of({"translation": Few(data)}).tasks())) == 5, (
        "all tasks without a limit"
    )
    for split in SPLITS[1:]:
        held = {
            (e.input, e.target)
            for n in data.names(split)
            for part in data.task(n).parts.values()
            for e in part
        }
        assert not {text for text, _ in corpus} & {text for text, _ in held}
        assert not {target for _, target in corpus} & {target for _, target in held}


def test_the_rows_of_a_step_are_of_one_suite(few: dict[str, Any]) -> None:
    pairs = [Example(f"one {n}", ("two",), str(n), str(n)) for n in range(9)]

    other = Few(few["translation"])
    other.task = lambda name: Task(name, {"train": tuple(pairs)})
    training = Pretraining(RECIPE, {**few, "other": other}, CPU)
    decode = training.backbone.tokenizer.batch_decode
    seen = set()
    for step in range(20):
        batch = training.batch(step)
        ids, places = (batch.inputs[n][0, : batch.tokens[0]] for n in ("input_ids", "position_ids"))
        starts = (places == 0).nonzero().flatten()[1:]
        kinds = {
            text.removeprefix("<s>").startswith("one ")
            for text in decode(torch.tensor_split(ids, starts.cpu()))
        }
        assert len(kinds) == 1
        seen |= kinds
    assert seen == {True, False}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_backbone_is_what_its_card_says(name: str) -> None:
    folder = backbone_path(name)
    assert folder
    facts = json.loads((folder / "training.json").read_text())
    for file, digest in facts["digests"].items():
        assert file_digest(folder / file) == digest
        assert digest in (folder / "CARD.md").read_text()
    assert read_recipe(name).model_dump() == facts["recipe"]
    assert (folder / "model.safetensors").stat().st_size <= 8 * 2**20
    backbone = load_backbone(name, None, CPU, "float32")
    size = sum(p.numel() for p in backbone.model.parameters())
    assert size == facts["parameters"]
    assert 300_000 <= size <= 2_000_000


@cache
def corpus_of(suites: tuple[str, ...], tasks: int) -> tuple[Corpus, str]:
    """The text that several backbones read, with its digest; made once."""
    corpus = Corpus.of({suite: dataset_of(suite) for suite in suites}, tasks)
    return corpus, corpus.digest()


@cache
def tokenizer_of(suites: tuple[str, ...], tasks: int, vocabulary: int) -> Any:
    """The tokenizer that several backbones have; trained once."""
    return train_tokenizer(corpus_of(suites, tasks)[0].texts(Prompt()), vocabulary, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_backbones_first_steps_repeat(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorded losses come from the recorded text: no other was seen."""
    folder = backbone_path(name)
    assert folder
    facts = json.loads((folder / "training.json").read_text())
    datasets = {suite: dataset_of(suite) for suite in facts["sources"]}
    text = tuple(datasets), facts["recipe"]["training"]["tasks"]
    corpus, digest = corpus_of(*text)
    assert digest == facts["corpus_digest"]

    def trained(texts: Any, vocabulary: int, positions: int) -> Any:
        made = deepcopy(tokenizer_of(*text, vocabulary))
        made.model_max_length = positions
        return made

    monkeypatch.setattr(Corpus, "of", lambda *asked: corpus)
    monkeypatch.setattr(pretrain, "train_tokenizer", trained)
    training = Pretraining(Recipe.model_validate(facts["recipe"]), datasets, CPU)
    tokenizer = json.loads(training.backbone.tokenizer.backend_tokenizer.to_str())
    shipped = json.loads((folder / "tokenizer.json").read_text())
    assert tokenizer["model"]["vocab"] == shipped["model"]["vocab"]
    losses = [training.advance() for _ in range(3)]
    assert losses == pytest.approx(facts["first_losses"][:3], rel=1e-4)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_context_holds_eight_examples_of_every_suite_and_an_answer(name: str) -> None:
    backbone = load_backbone(name, None, CPU, "float32")
    for suite_name in names("suite"):
        suite = load("suite", suite_name)()
        data = suite.embedded()
        for index, task in enumerate(data.names("meta-test")):
            episode = draw_episode(suite_name, data.task(task), 8, 4, 0, index)
            pieces = backbone.prompt.demonstrations(episode.support)
            shown = sum(len(backbone.text_ids(piece)) for piece in pieces)
            longest = max(len(backbone.text_ids(q.input)) for q in episode.query)
            assert shown + longest + suite.max_new_tokens + 8 <= backbone.context
            answers = [len(backbone.pair_ids(q)[1]) for q in episode.query]
            assert max(answers) <= suite.max_new_tokens


def test_a_key_that_transformers_moves_elsewhere_is_no_typo() -> None:
    register()
    _check_key("llama", "rope_theta", 5e5)
    _check_key("gpt2", "n_embd", 8)
    for name in names("backbone"):
        values = dict(read_recipe(name).model)
        kind = values.pop("model_type")
        for key, value in values.items():
            _check_key(kind, key, value)
    with pytest.raises(UserError, match="unknown key of a llama model 'rope_teta'"):
        _check_key("llama", "rope_teta", 5e5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[model]\nmodel_type = 'llama'", "Field required"),
        ("model = 3", "model"),
        ("nonsense", "recipe.toml"),
        (WRONG.format("n_head = 2"), "needs a model_type"),
        (WRONG.format("model_type = 'gpt2'\nn_head = 'x'"), "n_head"),
        (WRONG.format("model_type = 'frobnicate'"), "frobnicate"),
        (WRONG.format("model_type = 'gpt2'\nn_embdd = 8"), "did you mean n_embd"),
        (WRONG.format("model_type = 'bert'\nhidden_size = 12"), "reads a text in both directions"),
        (WRONG.format("model_type = 'gpt2'\nn_positions = 3"), "IndexError"),
    ],
)
def test_a_wrong_recipe_is_told(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    result = CliRunner().invoke(
        main,
        [
            "pretrain",
            "--suite",
            "translation",
            "--backbone",
            str(tmp_path / "recipe.toml"),
            "--out",
            str(tmp_path / "out"),
        ],
    )
    assert result.exit_code == 2
    assert told in result.output
    assert len(result.output) < 500


def test_a_checkpoint_without_a_recipe_cannot_be_trained_anew(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="has no recipe to train it by"):
        read_recipe(str(tmp_path))
    shipped = backbone_path("tiny")
    assert shipped
    (tmp_path / "recipe.toml").write_bytes((shipped / "recipe.toml").read_bytes())
    assert read_recipe(str(tmp_path)) == read_recipe("tiny")
