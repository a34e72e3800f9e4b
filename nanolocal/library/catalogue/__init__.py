"""What exists: models and the builds of them that can be had, as ``families/*.toml`` state them."""
