"""The host's Bluetooth transport on a real BlueZ and a real kernel, without a radio, under QEMU."""
