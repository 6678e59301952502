"""gRPC: thin adapters between the wire and the predictor."""
