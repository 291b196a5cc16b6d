"""Commands in running containers: exec sessions, and the shell that is a container's main process."""
