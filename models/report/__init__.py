"""The answer as a page that can be sent: one HTML file that needs no network and runs nothing that came with the data."""
