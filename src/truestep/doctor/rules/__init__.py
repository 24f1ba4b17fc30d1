"""One file a mistake. The docstring is its page; Bad and Good are its tests."""
