"""The host-wide book of leases (docs/ledger.md)."""
