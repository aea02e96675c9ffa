"""Where the work is done: two worker processes, what they are asked, and who asks them."""
