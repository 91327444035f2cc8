"""Several worker processes: their parent replaces them, and passes on what they ask each other."""
