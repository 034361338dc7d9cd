"""A soak: thousands of connections are held, slow ones too, while jobs go through."""
