"""Writes the report: an index, a page a block, pages a task, a page an episode."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from bench.episodes import Episode
from bench.errors import UserError
from bench.exports.runs import read_run
from bench.exports.slim import queries_of
from bench.report.blocks import Block, Line, Place, families, read_blocks
from bench.report.figures import colour, marker
from bench.report.folder import check_folder, whole_folder
from bench.report.over import over_suites
from bench.report.plots import Plot, cost_plot, loss_plot, profile_plot, score_plot, shots_plot
from bench.report.tables import leaderboard_table, over_table
from bench.report.texts import OTHER_DIGEST, Texts
from bench.shown import MISSING
from bench.without_texts import plan_without_texts

FEWER = "the plan draws fewer episodes"
PAGE = 500  # episodes of a task on one page
PLAN = {  # what is said of a plan first: title, key
    "Suites": "suites",
    "Baselines": "baselines",
    "Backbone": "backbone",
    "Data": "data",
    "Shots (K)": "shots",
    "Episodes of a cell": "episodes",
    "Queries of an episode, at most": "queries",
    "Seeds": "seeds",
    "Train seeds": "train_seeds",
    "Training budget, tokens": "train_budget",
    "Split": "split",
    "Decoding": "decoding",
}
HERE = Path(__file__).parent
CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
Page = tuple[str, str]  # path in the site, HTML


def build(
    directories: Sequence[Path],
    out: Path,
    metric: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    texts: bool = True,
) -> int:
    """Writes a static site of some run directories; returns the number of its pages.

    Args:
        directories: written by `fewgen run`.
        out: the site's folder: new, empty, or an older report, which is replaced.
        metric: ranks in place of each suite's primary metric.
        say: told in a line what the site has to leave out.
        texts: whether the site holds inputs, targets, answers, ids, messages of failures and the
            names of tasks of one's own data.

    Raises:
        UserError: no run directory, a damaged file, a metric that was not recorded, or a folder
            that cannot be written or is not a report's.
    """
    check_folder(out)  # before what takes long
    blocks = read_blocks(directories, metric, texts)
    with whole_folder(out) as part:
        written = 0
        for path, html in Site(directories, blocks, say, texts).pages():
            file = part / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(html, encoding="utf-8", newline="\n")
            written += 1
        for name in ("style.css", "report.js"):
            shutil.copyfile(HERE / "static" / name, part / name)
    return written


def visible(text: str) -> str:
    """The text with signs in place of control characters, which a page cannot hold."""
    return text.translate(CONTROLS)


class Site:
    """The pages of some blocks."""

    def __init__(
        self,
        directories: Sequence[Path],
        blocks: Sequence[Block],
        say: Callable[[str], None],
        texts: bool = True,
    ) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self.directories, self.blocks, self.say = directories, blocks, say
        self._texts = Texts(directories) if texts else None
        self._places = [read_run(directory).places for directory in directories]
        self._jinja = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.globals["texts"] = texts
        self._jinja.filters.update(
            visible=visible, colour=colour, marker=marker, score=_score, file=_episode_file
        )

    def _page(self, path: str, template: str, **values: Any) -> Page:
        up = "../" * path.count("/")
        return path, self._jinja.get_template(template).render(up=up, **values)

    def pages(self) -> Iterator[Page]:
        """Every page of the site, one by one."""
        yield self._index()
        for block in self.blocks:
            yield self._block(block)
            for number, task in enumerate(block.places):
                yield from self._task(block, task, number)
            yield from self._episodes(block)

    def _index(self) -> Page:
        return self._page(
            "index.html",
            "index.html",
            runs=[_run(directory, self._texts is not None) for directory in self.directories],
            blocks=[(block, leaderboard_table(block), _plots(block)) for block in self.blocks],
            over=[
                (over, over_table(over), profile_plot(over)) for over in over_suites(self.blocks)
            ],
            shots=[shots_plot(family) for family in families(self.blocks)],
            suites=sorted({block.suite for block in self.blocks}),
            all_shots=sorted({block.shots for block in self.blocks}),
            baselines=sorted(
                {line.row.header["baseline"] for b in self.blocks for line in b.lines}
            ),
        )

    def _block(self, block: Block) -> Page:
        lines = [line for line in block.lines if line.row.cells]
        return self._page(f"{block.folder}/index.html", "block.html", block=block, lines=lines)

    def _task(self, block: Block, task: str, number: int) -> Iterator[Page]:
        """A task's episodes, in pages."""
        places = block.places[task]
        parts = [places[start : start + PAGE] for start in range(0, len(places), PAGE)]
        names = [f"task-{number}{f'-{i}' if i else ''}.html" for i in range(len(parts))]
        lines = [line for line in block.lines if line.row.cells]
        for name, part in zip(names, parts, strict=True):
            rows = [(place, [_scores(line, place) for line in lines]) for place in part]
            yield self._page(
                f"{block.folder}/{name}",
                "task.html",
                block=block,
                task=task,
                lines=lines,
                rows=rows,
                several=any(len(scores) > 1 for _, cells in rows for scores in cells),
                names=names,
                name=name,
            )

    def _episodes(self, block: Block) -> Iterator[Page]:
        """A page an episode."""
        numbers = {task: number for number, task in enumerate(block.places)}
        order = list(block.tasks)
        texts = chain.from_iterable(
            self._drawn(block, list(places))
            for _, places in groupby(order, key=lambda place: place[0])
        )
        for at, (place, (episode, reason)) in enumerate(zip(order, texts, strict=True)):
            yield self._page(
                f"{block.folder}/{_episode_file(place)}",
                "episode.html",
                block=block,
                place=place,
                task=block.tasks[place],
                task_number=numbers[block.tasks[place]],
                digest=block.digests[place],
                episode=episode,
                reason=reason,
                before=order[at - 1] if at else None,
                after=order[at + 1] if at + 1 < len(order) else None,
                **_answers(block, place),
            )

    def _drawn(self, block: Block, places: Sequence[Place]) -> Iterator[tuple[Episode | None, str]]:
        """Of each episode of one seed: its texts, or why they are not shown."""
        if self._texts is None:
            yield from ((None, "") for _ in places)
            return
        found, reason = self._texts.episodes(block.suite, block.shots, places[0], block.digests)
        reason = self._shown(reason)
        if reason:
            self.say(f"{block.suite}, K = {block.shots}, seed {places[0][0]}: no texts: {reason}")
        for place in places:
            episode = None
            try:
                episode = next((e for e in found if e.index == place[1]), None)
            except UserError as error:
                reason = self._shown(error.message)
            if episode and episode.digest != block.digests[place]:
                yield None, OTHER_DIGEST
            else:
                yield episode, reason or ("" if episode else FEWER)

    def _shown(self, reason: str) -> str:
        """A message without local paths."""
        for places in self._places:
            reason = places.shown(reason)
        return reason


def _plots(block: Block) -> list[Plot]:
    """The figures of a block, then the sentences in place of others."""
    plots = [cost_plot(block), score_plot(block), loss_plot(block)]
    return sorted(plots, key=lambda plot: plot.picture is None)


def _answers(block: Block, place: Place) -> dict[str, Any]:
    """Of an episode: ids of its examples, every line's scores, and of each query every line's
    outputs and scores; slim records hold neither ids nor outputs."""
    recorded = [
        (line, train_seed, record)
        for line in block.lines
        for train_seed, record in line.records.get(place, [])
    ]
    whole = [
        (line, train_seed, record["predictions"], line.query_scores(record))
        for line, train_seed, record in recorded
        if "predictions" in record
    ]
    first = next((record for *_, record in recorded if "predictions" in record), recorded[0][2])
    count = queries_of(first)
    return {
        "support_ids": first.get("support_ids", []),
        "query_ids": first.get("query_ids", [""] * count),
        "support_part": first["support_part"],
        "scores": [(line, train_seed, line.score(record)) for line, train_seed, record in recorded],
        "queries": [
            [(line, train, texts[query], scores[query]) for line, train, texts, scores in whole]
            for query in range(count)
        ],
        "slim": sorted({line.label for line, _, record in recorded if "predictions" not in record}),
        "train_seeds": any(train_seed is not None for _, train_seed, _ in recorded),
    }


def _scores(line: Line, place: Place) -> list[float]:
    """The scores of an episode, one a train seed."""
    return [line.score(record) for _, record in line.records.get(place, [])]


def _episode_file(place: Place) -> str:
    return f"episodes/s{place[0]}-{place[1]}.html"


def _score(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}"


def _run(directory: Path, texts: bool) -> dict[str, Any]:
    """What was run."""
    run = read_run(directory, texts)
    plan = run.places.shown(run.plan if texts else plan_without_texts(run.plan))
    told = {
        "Command": run.command,
        "Commit": run.commit,
        "Hardware": run.hardware,
        "Device": (run.content.get("facts") or {}).get("device") or "unknown",
        "Versions": ", ".join(f"{name} {number}" for name, number in run.versions.items()),
        **{
            title: _words(plan[key])
            for title, key in PLAN.items()
            if plan.get(key) not in (None, [], "")
        },
    }
    rest = {key: value for key, value in plan.items() if key not in {"out", *PLAN.values()}}
    return {
        "name": run.name,
        "told": told,
        "plan": json.dumps(rest, ensure_ascii=False, indent=1),
    }


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
