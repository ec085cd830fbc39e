"""From a folder of annotated images to a trained model with its card."""
