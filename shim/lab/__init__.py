"""The lab: runs one program in a network of its own, sees every packet that tries to leave it, and says what leaked.

Nothing but the command line may import it; it sends nothing anywhere but to the upstream it was given.
"""
