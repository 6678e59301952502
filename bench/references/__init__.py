"""What the gateway is held against: servers without a model, and the model without a server."""
