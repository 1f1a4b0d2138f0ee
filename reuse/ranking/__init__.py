"""Which model and which layer to reuse: a race of cached probes, beside scores of transferability."""
