"""A private Tor network: real tor processes on loopback, and the names and pages that its exit can reach.

Contacts nothing outside, and asserts nothing about the shim.
"""
