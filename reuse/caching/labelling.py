"""Attributes of a segment's file, in words, for whoever opens it in plain HDF5."""

from collections.abc import Sequence

import torch

from reuse.caching.packing import QuantizedTensor
from reuse.caching.storage import describe
from reuse.devices import dtype_name
from reuse.layers.frontier_tensor import FrontierTensor

WORDS_ON_FILE = "activations of frozen layers, stored by torch-reuse"
WORDS_ON_KEYS = "128-bit digest of the content and the view of the row at the same index"


def words_on_file(
    version: int, prefix_key: str, frontier: Sequence[FrontierTensor], rows: int, block_rows: int
) -> dict[str, object]:
    """Return the attributes of the file."""
    return {
        "what_this_is": f"{WORDS_ON_FILE}: what they computed for each input row",
        "how_to_read": "row i of every /frontier data set belongs to the input whose digest is row i of /row_key",
        "format": version,
        "prefix_key": prefix_key,
        "frontier": describe(frontier)[:4000],  # an attribute has room for 64 KB
        "rows": rows,
        "block_rows": block_rows,
    }


def words_on_tensor(tensor: FrontierTensor) -> dict[str, object]:
    """Return the attributes of a frontier tensor's data set."""
    how = "the values as they are"
    if tensor.dtype == torch.bfloat16:
        how = "16-bit patterns of bfloat16: shift left by 16 bits and read as float32"
    elif tensor.dtype == torch.bool:
        how = "0 is false, 1 is true"
    elif isinstance(tensor, QuantizedTensor):
        how = "codes: add 128, multiply by the step and add the low of the row's block and channel, see /scale"
    return {
        "what_this_is": "one tensor that the frozen layers hand to the trainable ones; one row a sample",
        "layer": tensor.name,
        "torch_dtype": dtype_name(tensor.dtype),
        "row_shape": str(tensor.shape),
        "how_to_read": how,
    } | ({"quantized": True} if isinstance(tensor, QuantizedTensor) else {})


def words_on_scales(tensor: QuantizedTensor, block_rows: int) -> dict[str, object]:
    """Return the attributes of the data set that holds the scales of a tensor."""
    return {
        "what_this_is": f"low and step of each channel of {tensor.name}, for each block of {block_rows} rows",
        "how_to_read": f"a row's block is its index // {block_rows}; channels broadcast as {tensor.channel_shape}",
    }


def words_on_units(unit_rows: int) -> dict[str, object]:
    """Return the attributes of the data set that holds the checksums of units."""
    return {
        "what_this_is": f"XXH3 (64 bits) of each unit of {unit_rows} rows of a block; one column a tensor of /frontier",
        "unit_rows": unit_rows,
    }


def words_on_checksums(block_rows: int) -> str:
    """Return what is said about the checksums."""
    columns = "one column a data set: /frontier in order, /row_key, /scale, /unit_checksum"
    return f"XXH3 (64 bits) of each block of {block_rows} rows; {columns}"
