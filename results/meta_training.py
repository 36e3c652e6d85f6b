"""What meta-training adds: every meta-learner of a run against the same run without an outer step.

    python results/meta_training.py RUN RUN-WITH-TRAIN-BUDGET-0 [--train-seed 0]

prints paired differences on each suite's primary metric, with 95 % intervals, in Markdown.
"""

from pathlib import Path

import click

from bench.statistics import corpus_score, paired_interval
from bench.tables import Row, entries, metrics, read_rows


def learners(directory: Path) -> dict[tuple[str, str], Row]:
    """The rows of what is trained on tasks, by suite and baseline."""
    rows = read_rows([directory])
    return {
        (row.header["suite"], row.header["baseline"]): row
        for row in rows
        if row.header["order"] != "none"
    }


def difference(row: Row, untrained: Row, train_seed: int | None) -> str:
    """`row` minus `untrained` on the episodes of both."""
    name = row.header["primary"]
    scorer = next(metric for metric in metrics(row) if metric.name == name)
    ours, theirs = entries(row, name), entries(untrained, name)
    shared = {entry.key for entry in ours} & {entry.key for entry in theirs}
    ours, theirs = (
        [e for e in part if e.key in shared and train_seed in (None, e.train_seed)]
        for part in (ours, theirs)
    )
    if not ours:
        where = f"{row.header['suite']} / {row.header['baseline']}"
        seed = "" if train_seed is None else f" of train seed {train_seed}"
        raise click.ClickException(f"{where}: the two runs share no episode{seed}")
    found = paired_interval(ours, theirs, scorer)
    apart = corpus_score(ours, scorer) - corpus_score(theirs, scorer)
    told = f"{apart:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
    return f"**{told}**" if found.low > 0 or found.high < 0 else told


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.argument("without", type=click.Path(exists=True, path_type=Path))
@click.option("--train-seed", type=int, help="Only this train seed.")
def main(run: Path, without: Path, train_seed: int | None) -> None:
    """RUN against WITHOUT, the same plan with --train-budget 0."""
    trained, untrained = learners(run), learners(without)
    primary = {suite: row.header["primary"] for (suite, _), row in trained.items()}
    suites = sorted(primary)
    click.echo("| baseline | " + " | ".join(f"{s} {primary[s]}" for s in suites) + " |")
    click.echo("| --- " * (len(suites) + 1) + "|")
    for name in sorted({baseline for _, baseline in trained}):
        cells = [
            difference(trained[s, name], untrained[s, name], train_seed)
            if (s, name) in trained and (s, name) in untrained
            else ""
            for s in suites
        ]
        click.echo(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
