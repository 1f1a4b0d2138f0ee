"""Modules and nodes by what trains in them: questions that freezing, tracing and cutting ask."""

from torch import fx, nn


def is_frozen(module: nn.Module) -> bool:
    """Return whether `module` has parameters and all of them are frozen."""
    flags = [p.requires_grad for p in module.parameters()]
    return bool(flags) and not any(flags)


def is_trainable(module: nn.Module) -> bool:
    """Return whether any parameter of `module` trains."""
    return any(p.requires_grad for p in module.parameters())


def is_mixed(module: nn.Module) -> bool:
    """Return whether `module` holds both frozen and trainable parameters."""
    return len({p.requires_grad for p in module.parameters()}) == 2


def parameter_read(node: fx.Node, model: nn.Module) -> nn.Parameter | None:
    """Return the parameter that a `get_attr` node reads, None for any other node.

    Looked up by its name alone: graphs of torch.export have a node for each parameter, and each is asked about often.
    """
    if node.op != "get_attr":
        return None
    path, _, name = str(node.target).rpartition(".")
    try:
        owner = model.get_submodule(path)
    except AttributeError:  # a constant of the graph's own
        return None
    value = getattr(owner, name, None)
    return value if isinstance(value, nn.Parameter) else None


def module_called(node: fx.Node, model: nn.Module) -> nn.Module:
    """Return the module that a `call_module` node calls; one without parameters for what is not the model's own."""
    try:
        return model.get_submodule(str(node.target))
    except AttributeError:
        return nn.Identity()


def has_hooks(module: nn.Module) -> bool:
    """Return whether calling `module` runs more than its `forward`."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(bool(getattr(module, name)) for name in names)
