"""Measure the built site against its goals: ``python -m tests.audit``, from the repository's root."""
