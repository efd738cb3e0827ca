"""What a pen and its host say to each other. No I/O, no clock; the specification is README.md."""
