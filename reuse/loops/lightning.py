"""Cached features in Lightning: `Trainer(callbacks=[ReadCached(train, valid)])`."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from reuse.features.dataset import CachedFeatures
from reuse.layers.freezing import unfreeze
from reuse.layers.selecting import Patterns


class ReadCached(Callback):
    """Lets a model take cached features while it is fitted, and unfreezes layers at the beginning of epochs.

    The module is left as it is: its network is what features were cached for, and where it calls that, it is given
    features. Parameters that are unfrozen join the first optimizer as a group of its settings, unless it has them. A
    training that goes on from a checkpoint has the same layers unfrozen and the same groups.

    Args:
        features: what `reuse.cached` returned for the loaders of the fit, all for the same network.
        unfreezing: patterns of layers that train from an epoch on, by the epoch's number, from 0.
    """

    def __init__(self, *features: CachedFeatures, unfreezing: Mapping[int, Patterns] | None = None) -> None:
        self._features, self._unfreezing = features, dict(sorted((unfreezing or {}).items()))
        self._unfrozen: list[int] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's names
        """Let the network take features; of a training that goes on, unfreeze what it had unfrozen."""
        self._features[0].attach()
        for epoch in self._unfrozen:
            self._unfreeze(trainer, epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Unfreeze what trains from this epoch on."""
        for epoch in self._unfreezing:
            if epoch <= trainer.current_epoch and epoch not in self._unfrozen:
                self._unfrozen.append(epoch)
                self._unfreeze(trainer, epoch)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Let the network take its inputs again."""
        self._features[0].detach()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the epochs at which layers were unfrozen."""
        return {"unfrozen": self._unfrozen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what a checkpoint kept; the layers are unfrozen when the fit starts."""
        self._unfrozen = list(state_dict["unfrozen"])

    def _unfreeze(self, trainer: Trainer, epoch: int) -> None:
        network, optimizer = self._features[0].model, trainer.optimizers[0]
        unfreeze(network, self._unfreezing[epoch])
        for features in self._features:
            features.refresh()
        known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        new = [own for own in network.parameters() if own.requires_grad and id(own) not in known]
        if new:
            optimizer.add_param_group({**optimizer.param_groups[0], "params": new})
