"""The host-wide ledger of containers, memory, CPUs, GPUs and networks: who may start what, and when."""
