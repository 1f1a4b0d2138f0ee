"""Training many heads on one stream of batches, each as if it were trained alone on those batches.

A head that learns from some of the rows only takes the mean loss over those rows of a batch that are its own. A batch
that holds none of them is no step for it: neither weights nor the optimizer's state and its count of steps move, and
nothing decays. Its schedule follows the stream all the same, so that all heads' rates fall together.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from reuse.data.rows import Rows, windows_of
from reuse.errors import UsageError
from reuse.heads.head import Head, distinct_masks
from reuse.heads.rate_tables import RateTable
from reuse.heads.row_losses import row_loss
from reuse.heads.stacked_networks import StackedNetwork
from reuse.heads.stacked_optimizers import StackedOptimizer, arranged
from reuse.objectives.objective import Objective, divisor_of
from reuse.optim.groups import is_weight
from reuse.seeding import generator, seed_everything
from reuse.training.batches import batch_sizes, beside, row_order
from reuse.training.evaluation import eval_mode
from reuse.training.state import live_tensors

MEASURED_ROWS = 1024  # at once


class ManyHeads:
    """Many heads of one architecture that are trained together.

    Args:
        network: gives a head's outputs from a batch; its own weights stay as they are.
        objective: a supervised one.
        heads: their weights and how each is trained.
        batch_size: rows a batch, of all heads' rows together.
        seed: decides the order of rows and all random numbers, as in `reuse.Trainer`.

    Raises:
        UsageError: heads that cannot be trained together; the message says why.

    Example:
        >>> from reuse.data.rows import Resident
        >>> from reuse.objectives.supervised import Classification
        >>> from reuse.optim.groups import OptimizerSettings
        >>> rows, labels = torch.randn(64, 4), torch.randint(3, (64,))
        >>> network = nn.Linear(4, 3)
        >>> weights = {name: p.detach() for name, p in network.named_parameters()}
        >>> heads = [Head(weights, OptimizerSettings("adam", rate)) for rate in (0.1, 0.01)]
        >>> many = ManyHeads(network, Classification(3), heads)
        >>> list(many.epochs(Resident(rows), labels, epochs=2))
        [1, 2]
    """

    def __init__(
        self, network: nn.Module, objective: Objective, heads: Sequence[Head], *, batch_size: int = 32, seed: int = 0
    ) -> None:
        if not heads:
            raise UsageError("there are no heads to train: give at least one")
        self.network, self.batch_size, self.seed = network, batch_size, seed
        self._row_loss, self._stacked = row_loss(objective), StackedNetwork(network)
        self._masks, numbers = distinct_masks(heads)
        self._order = arranged([head.optimizer for head in heads], numbers)
        self._heads = [heads[h] for h in self._order]
        self._places = sorted(range(len(heads)), key=lambda place: self._order[place])
        mask_of = [numbers[h] for h in self._order]
        self.tensors = _stacked_tensors(network, self._heads)
        self._refuse_shared_statistics()
        decaying = [name for name, parameter in network.named_parameters() if is_weight(name, parameter)]
        settings = [head.optimizer for head in self._heads]
        parameters = {name: self.tensors[name] for name in self._stacked.names}
        self._optimizer = StackedOptimizer(parameters, decaying, settings, mask_of)
        self._mask_of = torch.tensor(mask_of, device=self.device)
        self._rates: RateTable | None = None

    @property
    def device(self) -> torch.device:
        """Device of the heads' weights."""
        return next(iter(self.tensors.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """Type in which the heads compute."""
        return self.tensors[self._stacked.names[0]].dtype

    def __len__(self) -> int:
        return len(self._heads)

    def weights(self, head: int) -> dict[str, Tensor]:
        """Return the parameters and buffers of the head that was given as number `head`, copied."""
        place = self._places[head]
        return {name: tensor[place].clone() for name, tensor in self.tensors.items()}

    def keep(self, kept: dict[str, Tensor], heads: Tensor) -> None:
        """Copy the weights of some heads, `(heads,)` bool in the order given, into `kept`, a copy of `tensors`."""
        chosen = heads[self._order].to(self.device)
        for name, tensor in self.tensors.items():
            kept[name][chosen] = tensor[chosen]

    def load_weights(self, kept: dict[str, Tensor]) -> None:
        """Put back what `keep` kept."""
        for name, tensor in kept.items():
            self.tensors[name].copy_(tensor)

    def epochs(self, train: Rows, targets: Tensor, *, epochs: int) -> Iterator[int]:
        """Train, and yield each epoch's number after it; rows are shuffled as `reuse.Trainer` shuffles them.

        Args:
            train: the rows of all heads, on the device of the weights.
            targets: of these rows.
            epochs: number of the last epoch.
        """
        targets, sizes = self._beside(train, targets), batch_sizes(len(train), self.batch_size)
        self._rates = RateTable(self._heads, len(sizes), epochs)
        wanted, weights = self._row_loss.wanted(targets, self.dtype)
        for number in range(1, epochs + 1):
            seed_everything(generator(self.seed, number, 1).initial_seed())
            order = row_order(
                len(train), seed=self.seed, epoch=number, shuffle=True, device=train.device, windows=windows_of(train)
            )
            self.network.train()
            self._train_epoch(train, wanted, weights, order, sizes, self._rates.of_epoch(number))
            yield number

    def observe(self, losses: Sequence[float]) -> None:
        """Tell schedules that follow the validation loss what it is for each head, in the order they were given."""
        if self._rates is not None:
            self._rates.observe([losses[h] for h in self._order])

    @torch.no_grad()
    def _train_epoch(
        self, train: Rows, wanted: Tensor, weights: Tensor | None, order: Tensor, sizes: list[int], rates: Tensor
    ) -> None:
        own = wanted.index_select(0, order).split_with_sizes(sizes)
        steps = rates.to(self.device, self.dtype).unbind(), self._moves(order, sizes)
        for rows, some, step_rates, moves in zip(order.split_with_sizes(sizes), own, *steps, strict=True):
            self._step(train.gather(rows), some.t().contiguous(), self._shares(rows, weights), step_rates, moves)

    def _step(
        self, inputs: tuple[Tensor, ...], wanted: Tensor, shares: Tensor | float, rates: Tensor, moves: Sequence[bool]
    ) -> None:
        def back(outputs: Tensor) -> Tensor:
            return self._row_loss.gradient(outputs, wanted).mul_(shares)

        self._optimizer.step(self._stacked.gradients(self.tensors, inputs, back), rates, moves)

    def _shares(self, rows: Tensor, weights: Tensor | None) -> Tensor | float:
        """Return by what the losses of a batch's rows count for each head, so that they sum to their mean."""
        own = None if weights is None else weights.index_select(0, rows)
        if self._masks is None:
            return 1 / len(rows) if own is None else 1 / divisor_of(own.sum())
        masks = self._masks.index_select(1, rows).to(self.dtype)
        shares = masks / divisor_of((masks if own is None else masks * own).sum(1, keepdim=True))
        return shares.index_select(0, self._mask_of).unsqueeze(1)

    def _moves(self, order: Tensor, sizes: list[int]) -> list[list[bool]]:
        """Return for each step of an epoch which masks have rows in it."""
        if self._masks is None:
            return [[True]] * len(sizes)
        parts = self._masks.index_select(1, order).split_with_sizes(sizes, 1)
        moves: list[list[bool]] = torch.stack([some.any(1) for some in parts]).tolist()
        return moves

    @torch.no_grad()
    def measure(self, source: Rows, targets: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean loss of each head, and the share of right answers, in eval mode.

        Args:
            source: rows.
            targets: of these.
            rows: which of them count for each head, `(heads, rows)` bool; None: all for all.

        Returns:
            Losses without smoothing and class weights, and accuracies, which are NaN for numbers as targets: both
            `(heads,)` float64 on the CPU, NaN for a head without rows.
        """
        targets = self._beside(source, targets)
        sums = torch.zeros(3, len(self), dtype=torch.float64)
        chosen = None if rows is None else rows.to(self.device)[self._order]
        with eval_mode(self.network):
            for some in _in_order(source):
                outputs = self._stacked.outputs(self.tensors, source.gather(some))
                found = self._row_loss.measure(outputs, targets.index_select(0, some))
                counted = torch.ones_like(found[0]) if chosen is None else chosen[:, some].to(found[0].dtype)
                amounts = [torch.where(counted > 0, part, 0).sum(1) for part in (*found, counted)]
                sums += torch.stack(amounts).double().cpu()
        means = (sums[:2] / sums[2])[:, self._places]
        return means[0], means[1]

    @torch.no_grad()
    def outputs(self, source: Rows) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield some rows' numbers and each head's outputs for them in eval mode, `(heads, rows, outputs)`."""
        with eval_mode(self.network):
            for some in _in_order(source):
                found = self._stacked.outputs(self.tensors, source.gather(some))
                yield some, found.transpose(1, 2)[self._places]

    def _beside(self, source: Rows, targets: Tensor) -> Tensor:
        found = beside(source, targets)
        if found is None or source.device != self.device:
            raise UsageError(f"the rows lie on {source.device} and the heads on {self.device}: put them on one device")
        return found

    def _refuse_shared_statistics(self) -> None:
        statistics = [name for name in self.tensors if name not in self._stacked.names]
        if statistics and self._masks is not None:
            raise UsageError(
                f"{statistics[0].rpartition('.')[0]} takes statistics over the rows of a batch, and these heads learn "
                "from different rows of it: freeze the layer, choose norm=layer, or leave out folds and labels"
            )


def _in_order(source: Rows) -> tuple[Tensor, ...]:
    return torch.split(torch.arange(len(source), device=source.device), MEASURED_ROWS)


def _stacked_tensors(network: nn.Module, heads: Sequence[Head]) -> dict[str, Tensor]:
    """Return what training changes, stacked over heads, by the names that the network gives them."""
    own = live_tensors(network)
    for name, tensor in own.items():
        shapes = {tuple(head.weights[name].shape) if name in head.weights else None for head in heads}
        if shapes != {tuple(tensor.shape)}:
            raise UsageError(f"each head needs weights for {name} {tuple(tensor.shape)}, and there are {shapes}")
    return {n: torch.stack([head.weights[n].detach().to(t.device, t.dtype) for head in heads]) for n, t in own.items()}
