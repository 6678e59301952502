"""What goes into a release and where it comes from: `make audit`, `make sbom`, `make provenance`."""
