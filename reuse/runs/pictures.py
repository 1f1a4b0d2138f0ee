"""Pictures of a pretraining on images, in its run folder: what there is to see of the layers that will be reused.

pictures/map_before.png, map_after.png   features of validation rows on their two principal axes, coloured by class
pictures/filters.png                     weights of the first layer, where they have the form of an image
pictures/neighbours.png                  validation rows, and the training rows whose features are nearest
pictures/NAME.png                        what the objective shows: reconstructions, samples
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.modules.conv import _ConvNd

from reuse.augmenting.pixels import Pixels
from reuse.data.dataset import Dataset, Split
from reuse.devices import Compute
from reuse.nn.main_output import main_output
from reuse.objectives.objective import Objective
from reuse.runs.disk import saving
from reuse.runs.folder import RunFolder
from reuse.runs.picture_files import save_grid, save_map
from reuse.seeding import seed_everything, untouched_random_state
from reuse.training.evaluation import eval_mode

FOLDER = "pictures"
MAPPED, SEARCHED = 500, 2000  # rows of a map, and training rows among which neighbours are sought
SHOWN, NEIGHBOURS, FILTERS = 10, 7, 64  # rows that are shown, the nearest of each, and filters


@dataclass(frozen=True)
class Gallery:
    """The pictures of a run.

    Attributes:
        run: where they are written, in a folder of their own.
        data: images.
        encoder: whose features are shown.
        compute: where and in which types it computes.
    """

    run: RunFolder
    data: Dataset
    encoder: nn.Module
    compute: Compute

    def draw(self, name: str, objective: Objective | None = None, trained: nn.Module | None = None) -> None:
        """Draw a map of the features; with an objective and what it has trained, all there is to see.

        Args:
            name: of the map.
            objective: what was minimised.
            trained: what it has built.
        """
        with untouched_random_state():
            seed_everything(0)
            self._draw_map(name)
            if objective is not None and trained is not None:
                self._draw_layers()
                self._draw_shown(objective, trained)

    def _draw_map(self, name: str) -> None:
        """Draw features of validation rows on their two principal axes; of what is no number, training will say so."""
        split = self.data.valid if len(self.data.valid) else self.data.train
        features = self._features(self._rows(split, MAPPED)).double()
        if not features.isfinite().all():
            return
        centred = features - features.mean(0)
        _, _, axes = torch.linalg.svd(centred, full_matrices=False)
        has_classes = self.data.task == "classification" and split.targets is not None
        classes = split.targets[: len(features)].tolist() if has_classes and split.targets is not None else None
        points = centred @ axes[:2].T
        save_map(self._path(name), nn.functional.pad(points, (0, 2 - points.size(1))), classes)

    def _draw_layers(self) -> None:
        """Draw filters of the first layer and nearest neighbours."""
        filters = first_filters(self.encoder, self.data.input_shape)
        if filters is not None:
            save_grid(self._path("filters"), filters)
        split = self.data.valid if len(self.data.valid) else self.data.train
        shown, others = self._rows(split, SHOWN), self._rows(self.data.train, SEARCHED)
        likeness = normalize(self._features(shown)) @ normalize(self._features(others)).T
        nearest = others[likeness.topk(min(NEIGHBOURS, len(others)), 1).indices.to(others.device)]
        save_grid(self._path("neighbours"), self._pixels(torch.cat([shown.unsqueeze(1), nearest], 1)))

    def _draw_shown(self, objective: Objective, trained: nn.Module) -> None:
        """Draw what the objective shows."""
        split = self.data.valid if len(self.data.valid) else self.data.train
        rows = self._rows(split, SHOWN).to(self.compute.device, self.compute.dtype)
        with eval_mode(trained), torch.no_grad():
            grids = objective.pictures(trained, rows)
        for name, grid in grids.items():
            save_grid(self._path(name), self._pixels(grid.float().cpu()))

    def _path(self, name: str) -> Path:
        folder = self.run.path / FOLDER
        with saving(folder):
            folder.mkdir(exist_ok=True)
        return folder / f"{name}.png"

    def _rows(self, split: Split, most: int) -> Tensor:
        return split.inputs.gather(torch.arange(min(len(split), most)))[0]

    def _features(self, rows: Tensor) -> Tensor:
        with eval_mode(self.encoder), torch.no_grad():
            parts = [
                main_output(self.encoder(part.to(self.compute.device, self.compute.dtype))).flatten(1)
                for part in torch.split(rows, 256)
            ]
        return torch.cat(parts).float().cpu()

    def _pixels(self, grid: Tensor) -> Tensor:
        """Return images as pixels from 0 to 1."""
        pixels = Pixels.of(self.data.input_shape, self.data.preprocessing)
        return pixels.restored(grid.flatten(0, 1)).reshape(grid.shape)


def first_filters(encoder: nn.Module, shape: tuple[int, ...]) -> Tensor | None:
    """Return the weights of the first layer as a grid of images, `(rows, columns, channels, height, width)`.

    The last row is filled up with white ones. None where they are no images (see `filters_of`).
    """
    filters = filters_of(encoder, shape)
    if filters is None:
        return None
    columns = math.ceil(math.sqrt(len(filters)))
    padding = filters.new_ones(-len(filters) % columns, *filters.shape[1:])
    return torch.cat([filters, padding]).reshape(-1, columns, *filters.shape[1:])


def filters_of(encoder: nn.Module, shape: tuple[int, ...]) -> Tensor | None:
    """Return the weights of the first layer as images, pixels from 0 to 1, `(filters, channels, height, width)`.

    Each is grey where it is 0 and as strong as can be elsewhere; at most so many. None where they are no images: 1×1
    kernels, or what comes first is no linear or convolutional layer.

    Args:
        encoder: any model.
        shape: of one image that it takes, `(channels, height, width)`.
    """
    layers = (module for module in encoder.modules() if isinstance(module, nn.Linear | _ConvNd))
    first = next(layers, None)
    if isinstance(first, nn.Linear) and first.in_features == math.prod(shape):
        filters = first.weight.detach().reshape(-1, *shape)
    elif isinstance(first, nn.Conv2d) and first.kernel_size != (1, 1):
        filters = first.weight.detach()
    else:
        return None
    filters = filters[:FILTERS].float().cpu()
    return 0.5 + filters / (2 * filters.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12))
