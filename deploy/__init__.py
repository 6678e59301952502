"""How the gateway is run and watched: what is here is checked by tests, and no part of the wheel."""
