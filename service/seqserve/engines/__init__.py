"""What runs the models: in this process, or in TorchServe."""
