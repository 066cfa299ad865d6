"""What a probability means, and when to say nothing: numbers from numbers, no network, no torch."""
