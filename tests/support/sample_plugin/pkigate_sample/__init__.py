"""A sample CA backend and a sample front end for pkigate."""
