"""`shim survey`: one check for each client and setting of a catalogue, as one table.

Judges nothing: the verdicts are those of `shim check`.
"""
