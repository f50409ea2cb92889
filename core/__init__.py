"""What every room stands on: configuration, object storage, tracking, tables, reports."""
