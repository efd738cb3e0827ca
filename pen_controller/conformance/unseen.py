"""What no host can see from the wire alone, and why; `tests/test_conformance.py` sees that nothing is left out."""

UNSEEN = {
    "FRM-8": "asks something of hosts",
    "LSE-4": "asks something of hosts",
    "RUN-1.6": "somebody would have to change the cartridge between Arm and Start",
    "STP-6": "somebody would have to take the pen's power away",
    "BLE-1": "a host's system chooses the MTU and the slices; FRM-2 sees that frames are heard however they are cut",
    "BLE-2": "a host's system may hand the two characteristics over apart",
    "VER-1": "binds whoever writes the next version",
    "VER-3": "asks something of hosts",
}
"""By id, or by the step of an id."""

PARTLY = {
    "FRM-3": "whether memory stays bounded, and drops are counted by cause, shows only inside the pen",
    "FRM-5": "no message to a pen holds an enum value or a flag",
    "ARM-1.1": "STOPPING lasts too short a time to be met",
    "ARM-1.4": "the pen's own memory, beside the tag, shows only when a tag is rewritten",
    "RUN-2": "the memory that outlasts a reboot shows only when the power is taken away",
    "STP-3": "a stop without a cause lasts too short a time to be met",
    "STP-4": "force, stall, temperature, battery, button and a pulled cartridge need a hand or a fault at the pen",
}
"""Rules that have a check, and a part that it cannot see."""
