"""The DNS sensor: takes queries by UDP and TCP, and answers them as the judge says.

Decides nothing, logs nothing, and forwards nothing to any resolver: a query is refused, answered from the pool of
issued addresses, or asked of Tor.
"""
