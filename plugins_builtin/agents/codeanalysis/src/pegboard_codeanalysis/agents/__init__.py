"""The agents: what each computes, what it asks a model, and how its claims are checked."""
