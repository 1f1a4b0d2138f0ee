"""torch's optimizers without its compiler do what torch's own do."""

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.optim import Optimizer

from reuse.optim import uncompiled as uncompiling
from reuse.optim.optimizers import OPTIMIZERS
from reuse.optim.uncompiled import uncompiled

ABSENT = "no_such_compiler"


@pytest.fixture(params=["before", "after"])
def import_of_the_compiler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether anybody has imported the compiler."""
    monkeypatch.setattr(uncompiling, "COMPILER", ABSENT if request.param == "before" else "sys")
    return str(request.param)


def stepped(make: Any, **settings: Any) -> tuple[Optimizer, list[torch.Tensor]]:
    """Return an optimizer after three steps, and its parameters."""
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(4, 3, generator=generator)) for _ in range(2)]
    optimizer = make([{"params": parameters[:1]}], lr=0.1, **settings)
    optimizer.add_param_group({"params": parameters[1:], "lr": 0.01})
    for _ in range(3):
        optimizer.zero_grad()
        for parameter in parameters:
            parameter.grad = torch.randn(4, 3, generator=generator)
        optimizer.step()
    return optimizer, [parameter.detach() for parameter in parameters]


@pytest.mark.usefixtures("import_of_the_compiler")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_moves_and_keeps_what_torchs_own_does(name: str) -> None:
    try:
        theirs, expected = stepped(OPTIMIZERS[name])
    except KeyError as error:  # Adagrad, until it knew what `add_param_group` is
        pytest.skip(f"torch's own takes no second group: {error!r}")
    own, moved = stepped(uncompiled(OPTIMIZERS[name]))
    torch.testing.assert_close(moved, expected, rtol=0, atol=0)
    torch.testing.assert_close(own.state_dict()["state"], theirs.state_dict()["state"], rtol=0, atol=0)
    assert own.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]
    again, _ = stepped(uncompiled(OPTIMIZERS[name]))
    again.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(again.state_dict()["state"], theirs.state_dict()["state"], rtol=0, atol=0)


def test_it_is_one_of_torchs() -> None:
    optimizer, _ = stepped(uncompiled(OPTIMIZERS["nesterov"]))
    assert isinstance(optimizer, torch.optim.SGD)
    assert (type(optimizer).__name__, type(optimizer).__module__) == ("SGD", "torch.optim.sgd")
    assert type(stepped(uncompiled(OPTIMIZERS["sgd"]))[0]) is type(optimizer)


@pytest.mark.usefixtures("import_of_the_compiler")
@pytest.mark.parametrize("handed_on", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_copies_and_pickles_are_torchs_own(handed_on: Any) -> None:
    optimizer, _ = stepped(uncompiled(torch.optim.AdamW))
    copied = handed_on(optimizer)
    assert type(copied) is torch.optim.AdamW
    torch.testing.assert_close(copied.state_dict()["state"], optimizer.state_dict()["state"], rtol=0, atol=0)
    copied.step()


@pytest.mark.usefixtures("import_of_the_compiler")
@pytest.mark.parametrize("others", [0, 1])
def test_hooks_are_called_once_a_step(others: int) -> None:
    for _ in range(others):
        stepped(torch.optim.Adam)  # torch puts its hooks around the class when the first one is made
    called: list[str] = []
    optimizer, _ = stepped(uncompiled(torch.optim.Adam))
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    optimizer.step()
    assert called == ["before", "after"]


@pytest.mark.usefixtures("import_of_the_compiler")
def test_steps_take_closures_and_leave_gradients_on() -> None:
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = uncompiled(torch.optim.SGD)([parameter], lr=0.5)

    def closure() -> torch.Tensor:
        assert torch.is_grad_enabled()
        loss = (parameter**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    assert optimizer.step(closure).item() == 4.0  # type: ignore[arg-type, union-attr]
    assert parameter.item() == 0.0
    assert torch.is_grad_enabled()


def test_what_is_none_of_torchs_is_left_as_it_is() -> None:
    class Own(torch.optim.SGD):
        pass

    def make(groups: Any) -> Optimizer:
        return torch.optim.SGD(groups)

    assert uncompiled(Own) is Own
    assert uncompiled(make) is make


def test_training_steps_import_no_compiler() -> None:
    code = """
import sys, torch
from reuse.optim.groups import OptimizerSettings
from reuse.optim.optimizers import build_optimizer
model = torch.nn.Linear(3, 2)
for name in ("momentum", "adamw", "nadam"):
    optimizer = build_optimizer(OptimizerSettings(name, 0.1), list(model.named_parameters()))
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
