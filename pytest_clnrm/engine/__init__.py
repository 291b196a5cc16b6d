"""The container engine: connecting, images, containers, exec. The only room that imports docker."""
