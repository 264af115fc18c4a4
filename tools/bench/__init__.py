"""`make bench`: figures of the installed server, as medians, with their goals beside them."""
