"""The assignment is no chapter: tests/test_assignment.py looks after it."""

collect_ignore_glob = ["*.ipynb", "*.py"]
