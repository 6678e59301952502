"""The gateway: gRPC and HTTP in front of TorchScript models in TorchServe archives."""

__version__ = "0.1.0"
