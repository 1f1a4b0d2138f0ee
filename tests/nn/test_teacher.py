"""Teachers: moving averages written by hand, in checkpoints and never trained."""

import pytest
import torch
from torch import nn

from reuse.nn.teacher import Teacher
from reuse.training.state import live_tensors

ROWS = torch.randn(7, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def students() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    tied = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    tied[2].weight = tied[0].weight
    weighted = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    return {"dense": nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2)), "tied": tied, "normed": weighted}


@pytest.mark.parametrize("name", ["dense", "tied", "normed"])
def test_weights_are_the_moving_average_written_by_hand(name: str) -> None:
    student = students()[name].double()
    teacher, momenta = Teacher(student), [0.9, 0.5, 1.0, 0.0, 0.99]
    names = [n for n, _ in student.named_parameters()]
    expected = [p.detach().clone() for p in student.parameters()]
    for momentum in momenta:
        with torch.no_grad():
            for parameter in student.parameters():
                parameter += torch.randn_like(parameter)
        teacher.follow(student, momentum)
        expected = [
            momentum * e + (1 - momentum) * p.detach() for e, p in zip(expected, student.parameters(), strict=True)
        ]
    found = dict(teacher.network.named_buffers())
    torch.testing.assert_close([found[n] for n in names], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["dense", "tied", "normed", "lstm"])
def test_a_teacher_that_follows_at_once_says_what_the_student_says(name: str) -> None:
    student = (nn.LSTM(4, 3, 2, batch_first=True) if name == "lstm" else students()[name]).double()
    teacher = Teacher(student)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.5)
    before, own = teacher.network(ROWS), student(ROWS)
    assert not torch.equal(before[0], own[0])
    teacher.follow(student, 0.0)
    torch.testing.assert_close(teacher.network(ROWS), own)
    assert all(not tensor.requires_grad for tensor in teacher.buffers())


def test_it_has_no_parameters_and_every_checkpoint_holds_it() -> None:
    student = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    both = nn.ModuleDict({"student": student, "teacher": Teacher(student)})
    assert not list(both["teacher"].parameters())
    assert not both["teacher"](torch.randn(3, 4)).requires_grad
    held = {name for name in live_tensors(both) if name.startswith("teacher.")}
    assert held == {f"teacher.{name}" for name in both["teacher"].state_dict()}
    assert len(held) == 2 + 5


def test_statistics_are_the_teachers_own() -> None:
    student = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    teacher = Teacher(student)
    student(torch.randn(8, 4) + 5)
    before = teacher.network[1].running_mean.clone()  # type: ignore[index, union-attr, operator]
    teacher.follow(student, 0.5)
    assert torch.equal(teacher.network[1].running_mean, before)  # type: ignore[index, union-attr]
