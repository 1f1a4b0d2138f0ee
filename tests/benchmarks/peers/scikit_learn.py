"""scikit-learn's `MLPClassifier`, an epoch a call of `partial_fit`."""

import numpy as np
from sklearn.metrics import accuracy_score, log_loss
from sklearn.neural_network import MLPClassifier

from peers.rows import BATCH, CLASSES, RATE, WIDTHS, Ended, Rows


def train(rows: Rows, ended: Ended) -> None:
    """Train with SGD, without momentum and decay."""
    network = MLPClassifier(WIDTHS, solver="sgd", learning_rate_init=RATE, batch_size=BATCH, momentum=0.0, alpha=0.0)
    inputs, labels = rows.inputs.numpy(), rows.labels.numpy()
    while True:
        network.partial_fit(inputs, labels, classes=np.arange(CLASSES))
        shares = network.predict_proba(rows.valid_inputs.numpy())
        log_loss(rows.valid_labels.numpy(), shares, labels=np.arange(CLASSES))
        accuracy_score(rows.valid_labels.numpy(), shares.argmax(1))
        ended()
