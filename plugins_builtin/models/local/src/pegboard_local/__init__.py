"""Models of servers on your own machines: Ollama, llama.cpp, vLLM, LM Studio, and any other one by its address."""

from __future__ import annotations
