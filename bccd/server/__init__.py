"""The page in the browser: a study, seen, corrected and reported."""
