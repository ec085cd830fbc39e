"""What makes a detector that will not be trained again faster."""
