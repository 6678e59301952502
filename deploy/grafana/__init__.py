"""The dashboard: sections/ says what it shows, dashboard.py writes it for Grafana, plot.py draws it."""
