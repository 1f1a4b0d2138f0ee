"""The one shape of everything that the trainer can minimise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.rows import Batch, Rows
from reuse.errors import UsageError
from reuse.seeding import seed_everything, untouched_random_state
from reuse.settings.training import LabelSettings

Network = Callable[..., Any]
"""A module, or what stands in for one: called on a batch's inputs."""

Losses = Callable[[Any, Batch], dict[str, Tensor]]
"""From a network and a batch to named scalars."""

DIVISOR = "divisor of "
"""Begins the name in a tally of what a loss is divided by, where that is not the rows."""

ABSURD_LOSS = 1e6
"""A loss that tells of numbers that have run away: inputs and targets are learned in a standard scale."""


@dataclass(frozen=True)
class Turn:
    """One part of a training step: some losses, and the parameters that they move.

    All turns share one optimizer. In a turn only its own parameters get gradients, and an optimizer leaves alone what
    has none: neither momentum nor decay nor its counts move. That equals an optimizer for each player, while schedules
    and checkpoints know of one. A step of several turns takes torch's own optimizers, which count for each parameter.

    Attributes:
        losses: as `Objective.losses`.
        moves: names of the children of the trained module whose parameters are moved; empty: all parameters.
        rate: multiplier of the learning rate of these parameters: players may learn at different paces.
        times: how often it is taken in a step, on the same rows.

    Raises:
        UsageError: the rate is not above 0, or it is taken less than once.
    """

    losses: Losses
    moves: tuple[str, ...] = ()
    rate: float = 1.0
    times: int = 1

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.times >= 1):
            raise UsageError(f"a turn has rate {self.rate} and is taken {self.times} times: give more than 0 of both")


@dataclass(frozen=True)
class TrainingStage:
    """Epochs of a training in which one part of what was built trains, on rows of its own, and all else rests.

    The stages of a training are trained one after the other, each with an optimizer of its own, in one count of epochs
    and under one schedule of rates. Each but the last trains all of its epochs.

    Attributes:
        name: what the history calls it.
        network: what trains: a child of the module that was built, or a module around parts of it.
        objective: what is minimised.
        below: frozen layers whose outputs are the network's rows, computed once and cached; None: the inputs.
        epochs: how many; None: what is left of the run's.
    """

    name: str
    network: nn.Module
    objective: "Objective"
    below: nn.Module | None = None
    epochs: int | None = None


class Objective:
    """A loss to minimise, what is built for it around a model, and the metrics that measure the outcome.

    A new one writes `losses`. The other methods are there for what builds something around the encoder (a decoder, a
    teacher), lets several players take turns, or acts between steps. What is to last from step to step (a teacher, a
    queue) lives in the trained module as buffers, so that checkpoints hold it.

    Attributes:
        monitor: the metric that early stopping watches, the lower the better; None: no metric tells which weights are
            the best, so all epochs are trained and the last weights kept.
        needs_labels: whether batches must have targets.
        whole_labels: whether labels are taken as they are: then nothing mixes, smooths or weighs them.
        has_teacher: whether it learns what another model gives of each row, which is cached.
        least_rows: fewest rows of a batch that it learns from: two where rows are compared with each other.
        whole_batches: whether it compares the rows of a whole batch, or remembers them, so that several processes, each
            with a share of a batch, would learn something else.
        summary: what it learns, in one line, as `reuse pretrain --list` prints it.
        suits: the data that it is for: images, tables, sequences.
        paper: authors, year and address.

    Example:
        >>> class Shrink(Objective):
        ...     def losses(self, network, batch):
        ...         return {"size": network(*batch.inputs).square().mean()}
        >>> Shrink().metrics(Shrink().tally(nn.Identity(), Batch((torch.tensor([[1.0], [3.0]]),))))
        {'size': 5.0, 'loss': 5.0}
    """

    monitor: ClassVar[str | None] = "loss"
    needs_labels: ClassVar[bool] = False
    whole_labels: ClassVar[bool] = False
    least_rows: ClassVar[int] = 1
    whole_batches: ClassVar[bool] = False
    has_teacher: ClassVar[bool] = False
    summary: ClassVar[str] = ""
    suits: ClassVar[tuple[str, ...]] = ("images", "tables", "sequences")
    paper: ClassVar[str] = ""

    def settled(self, data: Dataset, labels: LabelSettings) -> "Objective":  # noqa: ARG002 - for those who look at them
        """Return what is minimised for some data: by default the objective itself.

        Args:
            data: what is learned from.
            labels: the weight of labels in the loss.
        """
        return self

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:  # noqa: ARG002 - for those who build something
        """Return the module that is trained: the model itself, or what is built around it.

        Called once, before a training begins. The children's names are kept: each is saved as a file of that name.

        Args:
            model: with its output layer, which `reuse.nn.decoders.encoder_of` takes off.
            data: what is learned from.

        Returns:
            A module whose `forward` takes the inputs of a batch.

        Raises:
            UsageError: the model or the data do not fit the objective.
        """
        return model

    def with_models(self, read: Callable[[str], nn.Module]) -> "Objective":  # noqa: ARG002 - for those who learn from one
        """Return the objective with models in place of the names of runs, which `read` reads."""
        return self

    def prepare(self, data: Dataset, outputs: Callable[[nn.Module], dict[str, Tensor]]) -> Dataset:  # noqa: ARG002
        """Return the data with the targets that are learned: by default those that it has.

        Called as a training begins or goes on, and the same each time.

        Args:
            data: what is learned from.
            outputs: from a model to its outputs on the rows of each split, `(rows, outputs)`, computed once and cached.
        """
        return data

    def encoder(self, trained: nn.Module) -> nn.Module:
        """Return the module whose layers are reused: the child `encoder` of what was built, else all of it."""
        is_built = type(self).build is not Objective.build
        return trained.get_submodule("encoder") if is_built and "encoder" in trained._modules else trained

    def arrange(self, rows: Rows, targets: Tensor | None, split: str) -> tuple[Rows, Tensor | None]:  # noqa: ARG002
        """Return what the trainer reads of a split, and its targets: by default the rows as they are.

        Called after `build`, once for each split. Batches are of what is returned, such as pairs of rows.

        Args:
            rows: of the split.
            targets: as they are learned; None without any.
            split: "train", "valid" or "test".
        """
        return rows, targets

    def notes(self) -> tuple[str, ...]:
        """Return lines worth printing on what was built: by default none."""
        return ()

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return named scalars, means over the batch; the step minimises their sum.

        Args:
            network: the trained module, or what stands in for it: behind a cut its upper part, among several processes
                a wrapping. Call it as a whole, unless the objective has several turns, which are given the module.
            batch: the rows, on the network's device.
        """
        raise NotImplementedError(f"{type(self).__name__} has no losses: write `losses(network, batch)`")

    def divisors(self, batch: Batch) -> dict[str, Tensor]:  # noqa: ARG002 - for those that have some
        """Return what losses of a batch are divided by other than its rows: weights of rows, steps that are there.

        Batches of one step, and the parts that several processes have of one, then count by it: together they have the
        loss of one large batch.

        Args:
            batch: as `losses` takes it.

        Returns:
            A scalar for the name of each such loss, 0 or more; by default none.
        """
        return {}

    def turns(self) -> tuple[Turn, ...]:
        """Return the parts of a step, which are taken one after the other: by default one, which moves everything."""
        return (Turn(self.losses),)

    def stages(self, trained: nn.Module, epochs: int) -> tuple[TrainingStage, ...]:  # noqa: ARG002 - for those who have several
        """Return the parts of a training, which are taken one after the other: by default one, which trains everything.

        Args:
            trained: what `build` returned.
            epochs: of the whole run.
        """
        return (TrainingStage("", trained, self),)

    def after_step(self, trained: nn.Module, progress: float) -> None:
        """Act after each step of the optimizer, one in each turn, behind the constraints, without gradients.

        Args:
            trained: what `build` returned.
            progress: the share of all steps that are done, 1 after the last; 0 where nobody knows how many there are.
        """

    def pictures(self, trained: nn.Module, rows: Tensor) -> dict[str, Tensor]:  # noqa: ARG002 - for those who show some
        """Return what there is to see: for each picture's name images as inputs are, `(down, across, *input_shape)`.

        Args:
            trained: what `build` returned, in evaluation mode, without gradients.
            rows: some images that it has not learned from, `(batch, channels, height, width)`.
        """
        return {}

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return sums over the batch that can be added up over batches; nothing of it waits for the device.

        By default each loss, as often as there are rows, or as much as `divisors` says; these stand beside it. What is
        drawn is the same each time.
        """
        with untouched_random_state():
            seed_everything(0)
            losses = {name: loss for turn in self.turns() for name, loss in turn.losses(network, batch).items()}
        rows, divisors = count_rows(batch), self.divisors(batch)
        sums = {name: loss.reshape(()).to(rows.dtype) * divisors.get(name, rows) for name, loss in losses.items()}
        own = {DIVISOR + name: divisor.to(rows.dtype) for name, divisor in divisors.items()}
        return {"rows": rows, **sums, **own}

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return the metrics that the sums over all batches come to: by default each loss, and their sum as `loss`."""
        names = [name for name in tally if name != "rows" and not name.startswith(DIVISOR)]
        means = {name: float(tally[name] / divisor_of(tally.get(DIVISOR + name, tally["rows"]))) for name in names}
        return {**means, "loss": sum(means.values())}

    def failure(self, tally: dict[str, Tensor]) -> str:
        """Return in words what shows that nothing was learned, from the sums over the training rows; else nothing.

        By default a loss that no useful network has.
        """
        loss = self.metrics(tally).get("loss", 0.0)
        return "" if loss <= ABSURD_LOSS else f"the loss on the training rows is {loss:.2g}"


def example_of(data: Dataset) -> Tensor:
    """Return one row of the data's shape and type, of zeros: `(1, *input_shape)`."""
    return torch.zeros(1, *data.input_shape, dtype=data.train.inputs.dtype)


def some_rows(data: Dataset, most: int = 1024) -> Tensor:
    """Return the first training rows, `(rows, *input_shape)`: enough to know what values they take."""
    (rows,) = data.train.inputs.gather(torch.arange(min(len(data.train), most)))
    return rows


def labels_of(batch: Batch) -> Tensor:
    """Return the targets of a batch that must have some."""
    assert batch.targets is not None, "a supervised objective needs targets"
    return batch.targets


def add_up(values: Tensor, dim: int | None = None) -> Tensor:
    """Sum `values` (over dimension `dim`, or all) in float64, so that a million rows cost no precision."""
    precise = torch.float32 if values.device.type == "mps" else torch.float64  # MPS has no float64
    return values.sum(dtype=precise) if dim is None else values.sum(dim, dtype=precise)


def divisor_of(totals: Tensor) -> Tensor:
    """Return by what sums are divided for their means: where nothing weighs anything, they are 0.

    Args:
        totals: of the weights, of any shape.
    """
    return torch.where(totals > 0, totals, 1)


def count_rows(batch: Batch) -> Tensor:
    """Return the number of rows of a batch as a float64 scalar on its device, as a tally keeps it."""
    rows = batch.inputs[0]
    precise = torch.float32 if rows.device.type == "mps" else torch.float64
    return torch.full((), rows.shape[0], dtype=precise, device=rows.device)
