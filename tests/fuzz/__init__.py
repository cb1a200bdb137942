"""Coverage-guided fuzzing: one target for each reader of foreign bytes, and one for a whole session.

The targets need no fuzzer: tests/test_fuzz.py runs them over the corpus and over inputs of their own making.
"""
