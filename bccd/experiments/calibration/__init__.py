"""From corrected fields of a laboratory to a model whose counts are right there."""
