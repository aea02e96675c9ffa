"""File tools: read, write, edit, list, find, move and delete, inside the workspace of the run."""
