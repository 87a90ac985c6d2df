"""CRIU: client, features and version gate, provider, log diagnosis, catalogue of failures."""
