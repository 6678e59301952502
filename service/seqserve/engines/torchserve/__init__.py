"""Runs models in a TorchServe: all that knows its wire, its configuration and its ways lies in here."""
