"""Finding a Tor to talk to, and running one of our own where there is none. Never touches a client's bytes."""
