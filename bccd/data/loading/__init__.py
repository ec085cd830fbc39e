"""From records of a data set to batches of a model's inputs."""
