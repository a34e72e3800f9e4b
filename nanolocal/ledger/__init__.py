"""Credits: what answers cost, holds, settlements, and a chain that shows tampering."""
