"""A report as something to read or to process: one module a form, each a function from report to text.

None of them judges: what a leak is was decided before.
"""
