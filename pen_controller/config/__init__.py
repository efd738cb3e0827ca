"""What `configs/` says: its models, how its files are read and checked, and the texts that persons see."""

from pen_controller.config.models import (
    PROPOSED,
    Area,
    ClinicArea,
    Config,
    Narrowing,
    PenProfile,
    Plan,
    PlanArea,
)
from pen_controller.config.reading import KINDS, check, load, load_plan
from pen_controller.config.toml_file import ConfigError, Problem

__all__ = [
    "KINDS",
    "PROPOSED",
    "Area",
    "ClinicArea",
    "Config",
    "ConfigError",
    "Narrowing",
    "PenProfile",
    "Plan",
    "PlanArea",
    "Problem",
    "check",
    "load",
    "load_plan",
]
