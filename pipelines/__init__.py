"""From records to features to incidents: plain functions over columns, wired by Apache Beam."""
