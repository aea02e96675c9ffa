"""Plain analysers: each takes files and gives typed facts, figures or findings. Nothing here knows of pegboard."""
