"""Load: crowds of clients in processes of their own, an upstream that bears them, and a shim that counts what it holds.

`test_load.py` runs a few seconds of it; `python -m load` as much as one likes. Never leaves loopback.
"""
