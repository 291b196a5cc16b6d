"""The Engine protocol over the API of Docker and Podman."""
