"""What torch.fx and torch.export say where they cannot follow a forward, in plain words."""

BY_ROWS = "its forward does something else for some numbers of rows, or goes through them one by one"

_KNOWN = {  # what torch.fx and torch.export say -> what it means
    "symbolically traced variables cannot be used as inputs to control flow": "its forward branches on values or sizes",
    "Could not guard on data-dependent expression": "its forward branches on values",
    "Constraints violated": BY_ROWS,
    "Proxy object cannot be iterated": "its forward iterates over a tensor",
    "in output, which is not a known type": "its forward returns what holds no tensors that torch knows of",
    "does not require grad and does not have a grad_fn": "its forward takes gradients of what it computes",
    "We found a fake tensor in the exported program": "its forward makes tensors in a way that is not recorded",
    "no rule registered for HigherOrderOperator": "its forward uses torch.cond or a like operator",
}


def known_words(error: Exception) -> str | None:
    """Return what an error of torch's means, where that is known."""
    return next((words for text, words in _KNOWN.items() if text in str(error)), None)


def named_line_of(error: Exception) -> str:
    """Return the class of an error and the first line of what it says."""
    return f"{type(error).__name__}: {line_of(error)[:200] or 'no message'}"


def line_of(error: Exception) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().partition("\n")[0]
