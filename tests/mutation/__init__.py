"""Small wrong changes to the code that must not be wrong, and the tests that find each of them."""
