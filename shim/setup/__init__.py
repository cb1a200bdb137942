"""Settings that make a program hand its names to the shim: what they are, and how they get into its files.

Decides about no request; writes nothing unless it is told to.
"""
