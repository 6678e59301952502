"""Manifests for kustomize; prometheus_rule.py writes the one that is made from deploy/prometheus."""
