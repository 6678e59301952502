"""A gateway of its own process under a load of every kind for minutes or hours; `make soak`."""
