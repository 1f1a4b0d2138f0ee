"""fastai's `Learner` without its printed log and bar, on loaders that take whole batches out of resident tensors."""

from fastai.basics import Callback, CrossEntropyLossFlat, DataLoader, DataLoaders, Learner, OptimWrapper, accuracy
from torch import Tensor
from torch.optim import SGD

from peers.rows import BATCH, RATE, Ended, Rows, build_network


class _Turns(Callback):
    order = 100  # after whatever else follows an epoch

    def __init__(self, ended: Ended) -> None:
        self.ended = ended

    def after_epoch(self) -> None:
        self.ended()


class _Resident(DataLoader):
    """fastai's loader, told to make a batch of row numbers at once."""

    def __init__(self, inputs: Tensor, labels: Tensor, **settings: object) -> None:
        self.inputs, self.labels = inputs, labels
        super().__init__(range(len(inputs)), **settings)

    def create_batches(self, rows: object) -> object:
        for some in self.chunkify(iter(rows)):
            yield self.inputs[some], self.labels[some]


def train(rows: Rows, ended: Ended) -> None:
    """Train with torch's SGD."""
    settings = {"bs": BATCH, "num_workers": 0, "device": "cpu"}
    learner = Learner(
        DataLoaders(
            _Resident(rows.inputs, rows.labels, shuffle=True, **settings),
            _Resident(rows.valid_inputs, rows.valid_labels, **settings),
        ),
        build_network(),
        loss_func=CrossEntropyLossFlat(),
        opt_func=lambda parameters, **_: OptimWrapper(parameters, SGD, lr=RATE, fused=True),
        lr=RATE,
        metrics=accuracy,
    )
    with learner.no_logging():  # its progress bar is an import that is left out
        learner.fit(1_000_000, cbs=[_Turns(ended)])
