"""Right and wrong by class: the confusion matrix, and each class's precision and recall."""

import numpy as np

from reuse.reports.markup import Html, folded, joined, note, scrolled, table, tag
from reuse.reports.outcome import Outcome
from reuse.reports.predicted_numbers import numbers_beside
from reuse.reports.subject import Section, Subject, absent, empty_section
from reuse.runs.models import LIKELY
from reuse.units import verb_of

MOST_CLASSES = 40  # of a matrix that can be read
SHORT = 3  # letters of names that need not be turned
MOST_PAIRS = 25  # of classes that are taken for each other, where there are more classes


def classes_section(subject: Subject) -> Section:
    """Return what was taken for what; of numbers, the predicted beside the true ones."""
    outcome = subject.outcome
    if outcome is None:
        return empty_section("Confusion matrix", subject.no_outcome)
    if outcome.task == "regression":
        return Section("Predicted and true", numbers_beside(outcome))
    if outcome.task == "multilabel":
        why = "the task is multilabel, and a row may have several labels: each is judged by itself"
        return Section("Right and wrong", joined([absent("No confusion matrix", why), _by_class(outcome)]))
    matrix = confusion_matrix(outcome)
    shown = _matrix(matrix, outcome) if len(matrix) <= MOST_CLASSES else _pairs(matrix, outcome)
    return Section("Right and wrong", joined([shown, folded("Precision and recall of each class", _by_class(outcome))]))


def confusion_matrix(outcome: Outcome) -> np.ndarray:
    """Return how many rows of each class were taken for each, int64 `(true classes, predicted classes)`."""
    count = len(outcome.classes)
    return np.bincount(outcome.targets * count + outcome.predicted, minlength=count**2).reshape(count, count)


def _matrix(matrix: np.ndarray, outcome: Outcome) -> Html:
    names = outcome.classes
    upright = "upright" if max(map(len, names)) <= SHORT else None
    columns = [tag("th", tag("span", name, class_=upright), scope="col") for name in names]
    head = tag("tr", tag("td"), *columns, tag("th", "rows", scope="col"))
    body = [
        tag("tr", tag("th", name, scope="row"), *_cells(row, place, names), tag("td", f"{row.sum():,}", class_="sum"))
        for place, (name, row) in enumerate(zip(names, matrix, strict=True))
    ]
    caption = tag("caption", "True classes down, predicted classes across")
    whole = tag("table", caption, tag("thead", head), tag("tbody", *body), class_="confusion")
    wrong = int(len(outcome.numbers) - outcome.right.sum())
    said = note(
        f"{wrong:,} of {len(outcome.numbers):,} rows {verb_of(wrong, 'is', 'are')} wrong. ",
        "The stronger the colour, the greater the share of the true class.",
    )
    return joined([scrolled(whole, "Confusion matrix"), said])


def _cells(row: np.ndarray, true: int, names: tuple[str, ...]) -> list[Html]:
    total = max(int(row.sum()), 1)
    return [
        tag(
            "td",
            f"{count:,}" if count else None,
            class_="right" if place == true else "wrong",
            style=f"--share:{count / total:.2f}",
            title=f"{count:,} of {names[true]} taken for {names[place]}: {count / total:.1%}",
        )
        for place, count in enumerate(row.tolist())
    ]


def _pairs(matrix: np.ndarray, outcome: Outcome) -> Html:
    """Return the classes that are most often taken for others, where a matrix would be too large."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(place), len(matrix)) for place in order]
    names = outcome.classes
    rows = [
        [names[true], names[given], f"{wrong[true, given]:,}", f"{matrix[true].sum():,}"]
        for true, given in places
        if wrong[true, given]
    ]
    said = note(f"{len(names)} classes are too many for a matrix: the {len(rows)} pairs that are confused most.")
    return joined([said, table(["true", "predicted", "rows", "of"], rows, caption="Classes that are confused")])


def _by_class(outcome: Outcome) -> Html:
    given, has = given_and_labelled(outcome)
    right = (given & has).sum(0)
    rows = [
        [name, f"{labelled:,}", _share(hits, offered), _share(hits, labelled)]
        for name, hits, offered, labelled in zip(
            outcome.classes, right.tolist(), given.sum(0).tolist(), has.sum(0).tolist(), strict=True
        )
    ]
    return table(["class", "rows", "precision", "recall"], rows, caption="Precision and recall of each class")


def given_and_labelled(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Return which classes or labels each row is given, and which it has, bool `(rows, classes)`."""
    if outcome.task == "multilabel":
        return outcome.values > LIKELY, outcome.targets > 0
    every = np.arange(len(outcome.classes))
    return outcome.predicted[:, None] == every, outcome.targets[:, None] == every


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "–"
