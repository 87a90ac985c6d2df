"""Content store, OCI import and export, layer diff and apply, snapshot drivers."""
