"""The protocols that the server speaks: parsing and formatting, no HTTP."""
