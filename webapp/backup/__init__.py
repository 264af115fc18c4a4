"""Dumps, places to keep them, and the way back. Knows neither Flask nor SQLAlchemy."""
