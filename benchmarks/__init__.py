"""One script a speed claim, run from a checkout: ``python -m benchmarks.step``."""
