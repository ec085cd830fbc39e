"""What a detector costs: time by part, operations, memory, and the share of the machine's limit."""
