"""The compression lab: smaller builds on this device, measured before and after."""
