"""Which weights learn: one file a method, each a frozen dataclass with `apply(model)` and a learning-rate rule."""
