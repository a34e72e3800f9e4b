"""The ledger for other programs: hledger, beancount, spreadsheets, and JSON lines that prove themselves. Pure."""
