"""What the program knows for certain: sums, dates, units, counts, and a reference to look things up in."""
