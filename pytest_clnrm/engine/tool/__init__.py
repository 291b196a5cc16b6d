"""The program of ours that runs in containers, as source and as it is shipped."""
