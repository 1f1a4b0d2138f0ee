"""The confusion matrix, and what stands in the page of it."""

import re
from pathlib import Path

import numpy as np
from sklearn.metrics import classification_report, confusion_matrix

from reports.conftest import outcome_of, subject_of
from reuse.reports import classes


def cells(page: str) -> list[list[int]]:
    """Return the numbers of a drawn matrix, row by row, without the sums."""
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    found = [re.findall(r'<td class="(?:right|wrong)"[^>]*>([\d,]*)</td>', row) for row in body.split("<tr>")[1:]]
    return [[int(number.replace(",", "") or 0) for number in row] for row in found]


def test_the_matrix_is_scikit_learns(runs: Path) -> None:
    outcome = outcome_of(runs / "frozen")
    expected = confusion_matrix(outcome.targets, outcome.values.argmax(1), labels=range(10))
    assert classes.confusion_matrix(outcome).tolist() == expected.tolist()
    assert cells(classes.classes_section(subject_of(runs / "frozen")).body) == expected.tolist()


def test_precision_and_recall_are_scikit_learns(runs: Path) -> None:
    outcome = outcome_of(runs / "frozen")
    expected = classification_report(outcome.targets, outcome.predicted, output_dict=True, zero_division=0)
    page = classes.classes_section(subject_of(runs / "frozen")).body
    for name in outcome.classes:
        entry = expected[name]
        shares = [f"{entry[what]:.3f}" for what in ("precision", "recall")]
        if not (outcome.predicted == int(name)).any():
            shares[0] = "–"
        row = [name, f"{entry['support']:.0f}", *shares]
        assert "".join([f'<th scope="row">{row[0]}</th>', *(f"<td>{cell}</td>" for cell in row[1:])]) in page


def test_of_many_classes_the_pairs_that_are_confused_most_are_listed(runs: Path, monkeypatch: object) -> None:
    outcome = outcome_of(runs / "frozen")
    matrix = classes.confusion_matrix(outcome)
    np.fill_diagonal(matrix, 0)
    true, given = np.unravel_index(matrix.argmax(), matrix.shape)
    page = classes._pairs(classes.confusion_matrix(outcome), outcome)
    first = page.partition("<tbody>")[2].partition("</tr>")[0]
    assert f'<th scope="row">{true}</th><td>{given}</td><td>{matrix.max()}</td>' in first


def test_labels_are_judged_by_themselves(labels: Path) -> None:
    page = classes.classes_section(subject_of(labels)).body
    assert "the task is multilabel" in page
    assert page.count('<th scope="row">') == 3


def test_numbers_are_drawn_beside_the_true_ones(numbers: Path) -> None:
    section = classes.classes_section(subject_of(numbers))
    outcome = outcome_of(numbers)
    assert section.title == "Predicted and true"
    assert section.body.count("<path") == len(outcome.numbers)
    assert f"true {outcome.targets[0, 0]:.5g}" in section.body
