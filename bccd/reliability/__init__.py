"""Broken input in large numbers, and kills at any moment: what is tried, and with what outcome."""
