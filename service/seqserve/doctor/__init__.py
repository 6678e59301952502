"""What keeps a gateway, or its TorchServe, from working: one module for each thing that is looked at."""
