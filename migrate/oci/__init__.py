"""The command `migrate-oci`: runc's command line over this runtime (docs/oci.md)."""
