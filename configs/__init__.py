"""The shipped limits, pens, cartridges, clinic and plans, as TOML; README.md says what each holds."""
