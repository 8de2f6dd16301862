"""Benchmarks: ratios of speed and memory. No test runs them; ``python -m tests.benchmarks`` does."""

import os

# PyTorch's profiler, which counts memory, would write its own log into the progress bar. It asks once, when imported.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
