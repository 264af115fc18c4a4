"""What developers and operators run beside the product; nothing in webapp imports it."""
