"""The loop of torch's tutorials: a `DataLoader` over a `TensorDataset`, whole batches taken out of it at once."""

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

from peers.by_hand import validate
from peers.rows import BATCH, RATE, Ended, Rows, build_network


def loader(inputs: Tensor, labels: Tensor, shuffle: bool) -> DataLoader:
    """Return a loader that asks the data set for a batch, not for its rows one by one, which is slower."""
    data = TensorDataset(inputs, labels)
    rows = RandomSampler(data) if shuffle else SequentialSampler(data)
    return DataLoader(data, batch_size=None, sampler=BatchSampler(rows, BATCH, drop_last=False))


def train(rows: Rows, ended: Ended) -> None:
    """Train with SGD."""
    network = build_network()
    optimizer = torch.optim.SGD(network.parameters(), RATE, fused=True)
    batches = loader(rows.inputs, rows.labels, shuffle=True)
    while True:
        network.train()
        total = torch.zeros(())
        for inputs, labels in batches:
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(inputs), labels)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        total.item()
        validate(network, rows)
        ended()
