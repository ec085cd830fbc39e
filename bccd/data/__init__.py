"""Reading, checking, generating and loading blood-cell images. Importing it registers nothing."""
