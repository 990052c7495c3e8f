"""What turns windows into findings, causes and a verdict; knows neither Beam nor files."""
