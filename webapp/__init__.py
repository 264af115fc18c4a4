"""DBackup: backs up databases and never loses the alarm about them."""

__version__ = "0.1.0"
