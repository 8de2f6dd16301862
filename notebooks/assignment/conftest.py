"""The assignment is no chapter: tests/course/test_assignment.py looks after it."""

collect_ignore_glob = ["*.ipynb", "*.py"]
