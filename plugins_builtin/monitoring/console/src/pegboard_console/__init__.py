"""What pegboard runs do, said on the terminal: plain lines, and live ones below them."""
