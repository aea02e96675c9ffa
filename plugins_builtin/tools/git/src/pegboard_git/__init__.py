"""Git tools: look at and change a local repository in the workspace, and run nothing that the repository brings."""
