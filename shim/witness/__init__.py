"""Who owns a socket: from its addresses to the program behind it, or the reason why that cannot be known.

Never guesses, never blocks the data plane, and reads nothing but the kernel's tables and /proc.
"""
