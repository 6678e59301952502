"""Who may call what: tokens, the clients behind them, their scopes and their own limits; no transport."""
