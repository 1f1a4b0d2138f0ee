"""`rank`: which model and which layer to reuse for some data."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from reuse.errors import UsageError
from reuse.features.layer_outputs import HEAD_INPUT
from reuse.ranking.clock import Clock
from reuse.ranking.contenders import Contender, contenders_of
from reuse.ranking.entrants import Entrant, has_learned, open_entrant
from reuse.ranking.loads import Loads, labelled_rows
from reuse.ranking.naming import name_sources
from reuse.ranking.outcome import Judged, Ranking, choices_of, leading, ordered
from reuse.ranking.racing import divide_rows, race
from reuse.ranking.scores import SCORES, JudgingRows, Score, choose_scores, compute_scores
from reuse.ranking.stages import named_layers
from reuse.ranking.ties import BREAKS_TIES, evidence_of_tied
from reuse.reporting import Reporter
from reuse.settings.calling import takes
from reuse.settings.ranking import RankArguments
from reuse.settings.setting import settings_of, shown

CARRIED = (
    "labels",
    "target",
    "task",
    "text",
    "ignore",
    "split_column",
    "sample_weight",
    "test_data",
    "test_fraction",
    "valid_fraction",
    "split_seed",
    "classes",
    "image_size",
    "channels",
    "max_pixels",
    "skip_bad",
    "vocabulary",
    "sequence_length",
    "cache_dir",
    "seed",
    "trust",
)
"""Settings that the command to type next takes over where they are not the defaults."""


@takes(RankArguments)
def rank(arguments: RankArguments) -> Ranking:
    """Rank models and their layers by what a linear probe makes of them, beside scores of transferability.

    Each model sees the labelled rows once, up to the deepest layer that is ranked, and never again: what the layers
    give is cached. The probes, logistic for classes and ridge for numbers, are cross-validated fold by fold; what can
    no longer win is dropped (`reuse.ranking.racing`). Where rows have weights, they count as much in what probes learn,
    in what they get right and in the scores.

    Returns:
        The table, best first, with what each score would have chosen and the command to type next.

    Raises:
        UsageError, DataError, RunError: something given cannot be taken; the message says what to do.

    Example:
        >>> rank(["timm:resnet18", "timm:vit_tiny_patch16_224"], data="photos/").best["layer"]  # doctest: +SKIP
        'layer3'
    """
    reporter, clock = arguments.reporter or Reporter(), Clock()
    if arguments.group_by is not None:
        raise UsageError("folds would part rows of one group, and group_by keeps them together: leave it out")
    with clock.measuring("load"):
        named, loads = name_sources(arguments), Loads(arguments, reporter)
        entrants = [open_entrant(one, arguments, loads, reporter) for one in named]
        data = entrants[0].data
        rows = labelled_rows(data)
        scores = choose_scores(arguments.scores, numbers=rows.num_classes == 0)
        parts = divide_rows(rows, arguments.folds, arguments.seed)
        layers = _layers(entrants, arguments)
    with clock.measuring("pass"):
        contenders, computed = _passed(entrants, layers, arguments, scores, reporter)
        contenders = [one.of(rows) for one in contenders]
    with clock.measuring("scores"):
        scored = [compute_scores(scores, one.features, one.probabilities, rows) for one in contenders]
    with clock.measuring("race"), reporter.rows(len(contenders) * len(parts), "probes", "probe") as progress:
        standings = race([one.features for one in contenders], rows, parts, progress.advance)
    metric = "accuracy" if rows.num_classes else "r2"
    evidence = evidence_of_tied(contenders, standings, scored, rows)
    judged = ordered([Judged(*one) for one in zip(contenders, standings, scored, evidence, strict=True)])
    best = judged[0]
    source = next(one for one in entrants if one.named.name == best.contender.model)
    return Ranking(
        data=data.name,
        sizes={"rows": len(rows), "classes": rows.num_classes},
        metric=metric,
        folds=len(parts),
        table=[one.to_row(metric) for one in judged],
        choices=choices_of(judged, scores),
        best={**best.to_row(metric), "freeze": best.contender.freeze},
        command=None if source.named.module else next_command(source, best.contender.freeze, arguments),
        rows=computed,
        probes={"solved": sum(one.folds for one in standings), "all": len(standings) * len(parts)},
        seconds=clock.seconds(),
        notes=(*_notes(entrants, scores, arguments), *_unweighted(scores, rows)),
        tie=_tie(judged),
    )


def next_command(best: Entrant, freeze: str, arguments: RankArguments) -> str:
    """Return the fine-tuning of the best source as it is typed into a shell.

    Args:
        best: no module.
        freeze: what freezes it up to its best layer.
        arguments: of the ranking.
    """
    data = arguments.data if isinstance(arguments.data, str | Path) else "DATA"
    words = ["reuse", "finetune", best.named.name, "--data", str(data), "--freeze", freeze]
    if best.named.found is not None and best.named.found.spec is None and best.named.spec is not None:
        words += ["--model", best.named.spec]
    if best.is_random:
        words.append("--random-weights")
    return " ".join(map(shlex.quote, [*words, *_options(arguments)]))


def _options(settings: RankArguments) -> Iterator[str]:
    known = settings_of(RankArguments)
    for name in CARRIED:
        value = getattr(settings, name)
        if isinstance(value, bool):
            yield from [f"--{name.replace('_', '-')}"] * value
        elif value != known[name].default:
            yield f"--{name.replace('_', '-')}"
            yield ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _layers(entrants: Sequence[Entrant], arguments: RankArguments) -> list[list[str]] | None:
    """Return the layers that are named of each model; None where none are."""
    if arguments.layers is None:
        return None
    found = named_layers([one.network for one in entrants], arguments.layers)
    for entrant, own in zip(entrants, found, strict=True):
        if not own:
            raise UsageError(
                f"none of the layers {shown(arguments.layers)} is in {entrant.named.name}: name one of it too, such as "
                f"{HEAD_INPUT}, or leave layers out"
            )
    return found


def _passed(
    entrants: Sequence[Entrant],
    layers: Sequence[Sequence[str]] | None,
    arguments: RankArguments,
    scores: dict[str, Score],
    reporter: Reporter,
) -> tuple[list[Contender], dict[str, int]]:
    """Return all contenders, and how many rows went through each model."""
    contenders, computed = list[Contender](), dict[str, int]()
    classes = any(score.of_source for score in scores.values())
    for place, entrant in enumerate(entrants):
        names = None if layers is None else layers[place]
        own, count = contenders_of(entrant, names, arguments, classes=classes, reporter=reporter)
        contenders += own
        computed[entrant.named.name] = count
    return contenders, computed


def _tie(judged: Sequence[Judged]) -> str | None:
    """Return in words that several were to choose from; None where there was one."""
    tied = sum(one.evidence is not None for one in judged)
    if tied == 1:
        return None
    evidence, best = SCORES[BREAKS_TIES].title, leading(judged).contender.title
    return f"{tied} are within one standard error of the best probe, that of {best}: {evidence} chose among them"


def _unweighted(scores: dict[str, Score], rows: JudgingRows) -> tuple[str, ...]:
    """Return a note on each score that is not defined where rows have weights."""
    if rows.weights is None:
        return ()
    titles = [score.title for score in scores.values() if not score.of_weights]
    return tuple(f"–: no {title}, which counts all rows alike, and these have a sample_weight" for title in titles)


def _notes(entrants: Sequence[Entrant], scores: dict[str, Score], arguments: RankArguments) -> tuple[str, ...]:
    of_source = " and ".join(score.title for score in scores.values() if score.of_source)
    untold = [one.named.name for one in entrants if one.is_untold]
    without = [one.named.name for one in entrants if not one.has_classes and not one.is_untold]
    notes = []
    if of_source and without:
        notes.append(f"–: no {of_source}, as there are no classes of its own in {', '.join(without)}")
    if of_source and untold:
        notes.append(f"–: no {of_source}, as weights alone do not say which classes they tell: {', '.join(untold)}")
    learned = has_learned(entrants, arguments.data)
    if learned:
        notes.append(f"careful: trained on labels of these data, so the figures are too good: {', '.join(learned)}")
    return tuple(notes)
