"""The doctor looks at this machine and says what leaks: reads settings, and asks DNS only what it is told to ask.

Writes nothing, and starts nothing.
"""
