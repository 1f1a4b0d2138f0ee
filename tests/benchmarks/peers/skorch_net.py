"""skorch's `NeuralNetClassifier`, without its printed log."""

from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch.nn import CrossEntropyLoss
from torch.optim import SGD

from peers.rows import BATCH, RATE, Ended, Rows, build_network


class _Turns(Callback):
    def __init__(self, ended: Ended) -> None:
        self.ended = ended

    def on_epoch_end(self, net: NeuralNetClassifier, **_: object) -> None:
        self.ended()


def train(rows: Rows, ended: Ended) -> None:
    """Train with SGD; validation loss and accuracy are skorch's own defaults."""
    net = NeuralNetClassifier(
        build_network(),
        criterion=CrossEntropyLoss,
        optimizer=SGD,
        optimizer__fused=True,
        lr=RATE,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        max_epochs=1_000_000,
        train_split=predefined_split(Dataset(rows.valid_inputs, rows.valid_labels)),
        callbacks__print_log=None,
        callbacks=[_Turns(ended)],
    )
    net.fit(rows.inputs, rows.labels)
