"""What the documentation shows, recorded from real programs: run `python -m demo.record` in tests/.

Asserts nothing and is collected by no test.
"""
