"""Networks: a spec string becomes a module."""
