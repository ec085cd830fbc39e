"""The one reader of image files, of any format and depth."""
