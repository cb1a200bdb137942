"""Where the shim's dependencies come from: what the locks pin, what is installed, under which licences.

No part of the package: for whoever builds or distributes it.
"""
