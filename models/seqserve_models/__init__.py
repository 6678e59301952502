"""Defines, trains, exports and archives nn.Sequential models; shares files with the gateway, no code."""
