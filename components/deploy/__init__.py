"""Deploy: a registered version into service, proven there, or not at all."""
