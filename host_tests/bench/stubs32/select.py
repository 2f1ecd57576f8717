"""The 32-bit build for browsers has no `select`: enough that it can be imported."""
