"""A cluster as the engine: services are pods of one namespace. Design: docs/design/cluster.md."""
