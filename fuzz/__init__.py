"""One fuzz target per decoder: a module with ``one_input(octets)``, see README.md."""
