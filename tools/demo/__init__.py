"""A DBackup to look at: made-up data, and a stand-in on this machine for every service."""
